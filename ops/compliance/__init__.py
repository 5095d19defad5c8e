"""What Calejo has for standards, risks and incidents, as tables; `ops.audit_document` prints them (SEC-6)."""
