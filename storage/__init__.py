"""What is remembered: models, migrations, repositories and the audit chain."""
