-- The tables as the migrations have left them. app/db/models.py describes the same.

CREATE TABLE accounts (
    id uuid NOT NULL,
    email varchar(320) NOT NULL,
    password_hash varchar(255) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_accounts PRIMARY KEY (id),
    CONSTRAINT uq_accounts_email UNIQUE (email)
);

CREATE TABLE analysis_tasks (
    id uuid NOT NULL,
    owner_id uuid NOT NULL,
    description text NOT NULL,
    state varchar(16) NOT NULL DEFAULT 'pending',
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_analysis_tasks PRIMARY KEY (id),
    CONSTRAINT fk_analysis_tasks_owner_id_accounts FOREIGN KEY (owner_id) REFERENCES accounts (id) ON DELETE CASCADE,
    CONSTRAINT ck_analysis_tasks_state CHECK (state IN ('pending', 'running', 'completed', 'failed'))
);
CREATE INDEX ix_analysis_tasks_owner_id ON analysis_tasks (owner_id);

CREATE TABLE analysis_reports (
    task_id uuid NOT NULL,
    keywords jsonb NOT NULL,
    communities jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_analysis_reports PRIMARY KEY (task_id),
    CONSTRAINT fk_analysis_reports_task_id_analysis_tasks FOREIGN KEY (task_id)
        REFERENCES analysis_tasks (id) ON DELETE CASCADE
);
