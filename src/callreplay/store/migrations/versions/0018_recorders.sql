-- Recorders, and which of the calls they are recording. Such a call is a row of calls like any other, with the status
-- 'in progress'; when it is over its row becomes that of the stored call.
CREATE TABLE recorders (
    uuid     uuid        PRIMARY KEY,                            -- that of its folder of spools, which bears it
    spools   text        NOT NULL,                               -- the folder, on the host that records
    host     text        NOT NULL DEFAULT '',
    clock_at timestamptz,                                        -- what came before is on the disk
    seen_at  timestamptz NOT NULL DEFAULT now()
);

-- No foreign key to calls: rows go with the call's last word, or with what the recorder finds at its next start.
CREATE TABLE calls_in_progress (
    call_uuid uuid   PRIMARY KEY,
    recorder  uuid   NOT NULL REFERENCES recorders ON DELETE CASCADE,
    call_id   text   NOT NULL DEFAULT '',                        -- that the recorder knows it by after a crash
    files     text[] NOT NULL DEFAULT '{}'                       -- its spools so far, relative to the folder
);
CREATE INDEX calls_in_progress_recorder ON calls_in_progress (recorder);
