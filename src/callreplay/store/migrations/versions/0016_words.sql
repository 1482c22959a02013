-- What was said in a call, as a recogniser heard it: [[start_s, end_s, text, speaker, confidence], ...] by time.
CREATE TABLE call_words (
    call_uuid uuid        PRIMARY KEY REFERENCES calls ON DELETE CASCADE,
    made_at   timestamptz NOT NULL DEFAULT now(),
    made_with text        NOT NULL DEFAULT '',
    words     jsonb       NOT NULL,
    lexemes   tsvector    NOT NULL                               -- of the texts, without places
);
CREATE INDEX call_words_lexemes ON call_words USING gin (lexemes);

ALTER TABLE call_words ENABLE ROW LEVEL SECURITY;
CREATE POLICY readers ON call_words FOR SELECT
    USING (EXISTS (SELECT FROM calls c WHERE c.uuid = call_uuid));
CREATE POLICY writers ON call_words
    USING (EXISTS (SELECT FROM calls c WHERE c.uuid = call_uuid));
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'callreplay_writer') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON call_words TO callreplay_writer;
    END IF;
END
$$;
