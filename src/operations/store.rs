//! SQL of operations. Every change of status is a compare-and-swap on `running`.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Kind, Operation, Status, Step, Subject};
use crate::clock::{Ambient, Time};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct New {
    pub user_id: Option<Uuid>,
    pub kind: Kind,
    pub subject: Subject,
    pub subject_id: Uuid,
    pub generation: i64,
    pub deadline: Duration,
}

struct Row {
    id: Uuid,
    user_id: Option<Uuid>,
    kind: String,
    subject: String,
    subject_id: Uuid,
    generation: i64,
    status: String,
    reason: Option<String>,
    message: Option<String>,
    steps: sqlx::types::Json<Vec<Step>>,
    deadline: Time,
    created_at: Time,
    finished_at: Option<Time>,
}

impl TryFrom<Row> for Operation {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let unknown = |what: &str| sqlx::Error::Decode(format!("unknown {what} of an operation").into());
        Ok(Self {
            id: row.id,
            user_id: row.user_id,
            kind: Kind::parse(&row.kind).ok_or_else(|| unknown("kind"))?,
            subject: Subject::parse(&row.subject).ok_or_else(|| unknown("subject"))?,
            subject_id: row.subject_id,
            generation: row.generation,
            status: Status::parse(&row.status).ok_or_else(|| unknown("status"))?,
            reason: row.reason,
            message: row.message,
            steps: row.steps.0,
            deadline: row.deadline,
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    }
}

/// Starts an operation. The caller has dealt with one that runs already (see [`running`]).
pub async fn start(conn: &mut PgConnection, ambient: &Ambient, new: New) -> sqlx::Result<Operation> {
    let now = ambient.now();
    let steps = vec![Step {
        name: "accepted".into(),
        at: now,
    }];
    let operation = Operation {
        id: ambient.new_id(),
        user_id: new.user_id,
        kind: new.kind,
        subject: new.subject,
        subject_id: new.subject_id,
        generation: new.generation,
        status: Status::Running,
        reason: None,
        message: None,
        steps,
        deadline: now.plus(new.deadline),
        created_at: now,
        finished_at: None,
    };
    sqlx::query!(
        "INSERT INTO operations (id, user_id, kind, subject, subject_id, generation, status, steps, deadline, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'running', $7, $8, $9)",
        operation.id,
        operation.user_id,
        operation.kind.name(),
        operation.subject.name(),
        operation.subject_id,
        operation.generation,
        sqlx::types::Json(&operation.steps) as _,
        operation.deadline as _,
        now as _,
    )
    .execute(conn)
    .await?;
    Ok(operation)
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Operation>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id, user_id, kind, subject, subject_id, generation, status, reason, message,
                  steps AS "steps: sqlx::types::Json<Vec<Step>>", deadline AS "deadline: Time",
                  created_at AS "created_at: Time", finished_at AS "finished_at: Time"
             FROM operations WHERE id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// The operation that runs on a subject now, if any.
pub async fn running(conn: &mut PgConnection, subject: Subject, id: Uuid) -> sqlx::Result<Option<Operation>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id, user_id, kind, subject, subject_id, generation, status, reason, message,
                  steps AS "steps: sqlx::types::Json<Vec<Step>>", deadline AS "deadline: Time",
                  created_at AS "created_at: Time", finished_at AS "finished_at: Time"
             FROM operations WHERE subject = $1 AND subject_id = $2 AND status = 'running'"#,
        subject.name(),
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// The latest operations on a subject, newest first.
pub async fn recent(conn: &mut PgConnection, subject: Subject, id: Uuid, limit: i64) -> sqlx::Result<Vec<Operation>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id, user_id, kind, subject, subject_id, generation, status, reason, message,
                  steps AS "steps: sqlx::types::Json<Vec<Step>>", deadline AS "deadline: Time",
                  created_at AS "created_at: Time", finished_at AS "finished_at: Time"
             FROM operations WHERE subject = $1 AND subject_id = $2 ORDER BY created_at DESC, id DESC LIMIT $3"#,
        subject.name(),
        id,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Notes a step of the running operation, once: seeing it again changes nothing.
pub async fn step(
    conn: &mut PgConnection,
    ambient: &Ambient,
    subject: Subject,
    subject_id: Uuid,
    name: &str,
) -> sqlx::Result<bool> {
    let step = sqlx::types::Json(vec![Step {
        name: name.to_owned(),
        at: ambient.now(),
    }]);
    let done = sqlx::query!(
        "UPDATE operations SET steps = steps || $3::jsonb
          WHERE subject = $1 AND subject_id = $2 AND status = 'running'
            AND NOT steps @> jsonb_build_array(jsonb_build_object('name', $4::text))",
        subject.name(),
        subject_id,
        step as _,
        name,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Ends the running operation on a subject, if it brings about `up_to_generation` or an earlier one.
/// Returns its id when this call ended it.
pub async fn finish(
    conn: &mut PgConnection,
    ambient: &Ambient,
    subject: (Subject, Uuid),
    up_to_generation: i64,
    status: Status,
    reason: &str,
    message: &str,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "UPDATE operations SET status = $4, reason = $5, message = $6, finished_at = $7
          WHERE subject = $1 AND subject_id = $2 AND status = 'running' AND generation <= $3
         RETURNING id",
        subject.0.name(),
        subject.1,
        up_to_generation,
        status.name(),
        reason,
        message,
        ambient.now() as _,
    )
    .fetch_optional(conn)
    .await
}

/// An operation that its deadline has ended.
#[derive(Debug)]
pub struct Expired {
    pub id: Uuid,
    pub user_id: Option<Uuid>,
    pub kind: String,
    pub subject: String,
    pub subject_id: Uuid,
}

/// Ends operations whose deadline has passed; returns them.
pub async fn expire(conn: &mut PgConnection, now: Time) -> sqlx::Result<Vec<Expired>> {
    sqlx::query_as!(
        Expired,
        "UPDATE operations
            SET status = 'failed', reason = 'deadline_exceeded', finished_at = $1,
                message = 'The work was not finished in time; it is still being tried.'
          WHERE status = 'running' AND deadline <= $1
         RETURNING id, user_id, kind, subject, subject_id",
        now as _
    )
    .fetch_all(conn)
    .await
}
