-- The digest a delivery belongs to, kept before the first attempt: after a crash the very same digest is sent again.
ALTER TABLE deliveries ADD COLUMN batch TEXT;
