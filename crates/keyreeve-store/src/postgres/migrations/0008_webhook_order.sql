-- Events that go to the app one after the other have a key; of a key, the one with the smallest number
-- that waits is next.
ALTER TABLE webhook_events ADD COLUMN order_key BYTEA CHECK (length(order_key) = 32);
ALTER TABLE webhook_events ADD COLUMN order_number BIGINT;
CREATE UNIQUE INDEX webhook_events_by_order
    ON webhook_events (project, source, order_key, order_number) WHERE order_key IS NOT NULL;
CREATE INDEX webhook_events_in_order
    ON webhook_events (project, source, order_key, order_number)
    WHERE order_key IS NOT NULL AND due_ms IS NOT NULL;
