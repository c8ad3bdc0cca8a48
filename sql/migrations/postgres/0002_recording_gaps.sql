-- [{"from_ms","to_ms"}] in which the program was down, oldest first; null where there are none.
ALTER TABLE recordings ADD COLUMN gaps TEXT;
