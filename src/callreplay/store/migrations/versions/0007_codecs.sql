-- Every codec of a recording, in order of first use; codec is the one of its longest stretch. What cannot be decoded is
-- told by these before anything is rendered. Recordings of an older schema have none here: codec alone tells of them.
ALTER TABLE call_files ADD COLUMN codecs text[] NOT NULL DEFAULT '{}';
