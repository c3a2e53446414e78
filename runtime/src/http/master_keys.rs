//! The master key that secrets are sealed with, and its rotation.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    http::{
        auth::Operator,
        idempotent::{Reply, remembered},
        json::{Answer, NoBody},
        openapi::routes::{Routes, routes},
        problem::{Kind, Problem, sentence},
        time::Time,
    },
    master_key::{RotationError, Source},
};

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(get)).routes(routes!(rotate)).routes(routes!(finish))
}

/// Source of this server's master key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum KeySource {
    /// `master.key` in its data folder.
    File,
    /// `KASSA_MASTER_KEY`.
    Variable,
}

/// The master key of this installation, by name.
#[derive(Debug, Serialize, ToSchema)]
struct MasterKeyView {
    /// Names the newest key, and tells nothing of it.
    #[schema(example = "9b1c0e5f7a42")]
    id: String,
    created_at: Time,
    source: KeySource,
    /// True while an older key opens everything too, until the rotation is finished.
    rotation_under_way: bool,
    /// Values that an older key has sealed. Running servers seal them anew.
    sealed_with_older_keys: i64,
}

async fn view(app: &App) -> Result<MasterKeyView, Problem> {
    let standing = app.master_keys.standing().await?;
    let newest = standing.keys.last().ok_or(RotationError::Behind)?;
    Ok(MasterKeyView {
        id: newest.id.to_string(),
        created_at: Time(newest.created_at),
        source: match app.master_keys.source() {
            Source::File(_) => KeySource::File,
            Source::Variable => KeySource::Variable,
        },
        rotation_under_way: standing.under_way,
        sealed_with_older_keys: standing.left,
    })
}

/// Get the master key's name
#[utoipa::path(get, path = "/v1/operator/master_key", tag = "operator", responses((status = 200, body = MasterKeyView)),
    extensions(("x-problems" = json!([[Kind::RotationUnderWay]]))))]
async fn get(_: Operator, State(app): State<App>) -> Result<Answer<MasterKeyView>, Problem> {
    Ok(Answer(view(&app).await?))
}

/// Begin a rotation of the master key
///
/// A new key is made and written before the old one into `master.key`. Every server learns of it within ten seconds, writes
/// it into its own `master.key` and seals with it what is secret; nothing stops meanwhile. Servers that have the key from
/// `KASSA_MASTER_KEY` refuse: there the operator puts a new key before the old one and starts again.
#[utoipa::path(post, path = "/v1/operator/master_key/rotate", tag = "operator",
    responses((status = 200, body = MasterKeyView)),
    extensions(("x-problems" = json!([[Kind::RotationRefused, Kind::RotationUnderWay]]))))]
async fn rotate(_: Operator, State(app): State<App>, body: NoBody) -> Result<Reply, Problem> {
    let work = async {
        app.master_keys.rotate(app.clock.now()).await?;
        Reply::ok(&view(&app).await?)
    };
    remembered(&app, Operator::OWNER.to_owned(), body.once, work).await
}

/// Finish a rotation of the master key
///
/// From now on an older key opens nothing but backups of before. Refused while a value is sealed with one. A server that was
/// down since the rotation began needs the new key to start.
#[utoipa::path(post, path = "/v1/operator/master_key/finish", tag = "operator",
    responses((status = 200, body = MasterKeyView)),
    extensions(("x-problems" = json!([[Kind::RotationRefused, Kind::RotationUnderWay]]))))]
async fn finish(_: Operator, State(app): State<App>, body: NoBody) -> Result<Reply, Problem> {
    let work = async {
        app.master_keys.finish().await?;
        Reply::ok(&view(&app).await?)
    };
    remembered(&app, Operator::OWNER.to_owned(), body.once, work).await
}

impl From<RotationError> for Problem {
    fn from(error: RotationError) -> Self {
        let text = sentence(&error);
        match error {
            RotationError::Db(error) => error.into(),
            RotationError::Vault(_) | RotationError::File(_) => Self::internal(error),
            RotationError::Variable | RotationError::UnderWay | RotationError::NotUnderWay => {
                Self::new(Kind::RotationRefused, text)
            }
            // Every server seals and learns within ten seconds.
            RotationError::Left(_) | RotationError::Behind => {
                Self::new(Kind::RotationUnderWay, text).retry_after(10)
            }
        }
    }
}
