//! Components as they are uploaded: the raw bytes, or the one file of a form.

use std::time::Duration;

use axum::extract::{FromRequest, Multipart, Request};
use http::{HeaderMap, header};

use super::{
    idempotent::Once,
    json::{check_encoding, read_within},
    problem::{Kind, Problem},
};
const WASM: &str = "application/wasm";
const FORM: &str = "multipart/form-data";
/// Name of the form's field with the file.
const FIELD: &str = "component";
/// Maximum time for a body: twenty megabytes over a slow line.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum time for the upload and the compilation together.
pub(super) const TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum size of a form around its file.
const FORM_BYTES_MAX: usize = 64 << 10;

/// A component, with the idempotency key of its request.
pub(super) struct Wasm {
    pub(super) bytes: Vec<u8>,
    pub(super) once: Once,
}

/// True if the request's headers say that it carries a component.
pub(super) fn is_one(headers: &HeaderMap) -> bool {
    matches!(kind(headers), Some(WASM | FORM))
}

fn kind(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim();
    [WASM, FORM].into_iter().find(|kind| essence.eq_ignore_ascii_case(kind))
}

impl Wasm {
    /// Reads a component of at most `bytes_max` bytes.
    pub(super) async fn read(request: Request, bytes_max: usize) -> Result<Self, Problem> {
        check_encoding(request.headers())?;
        let is_form = match kind(request.headers()) {
            Some(WASM) => false,
            Some(_) => true,
            None => {
                let detail = format!(
                    "Send the component's bytes as Content-Type: {WASM}, or as the file {FIELD:?} of a form ({FORM})."
                );
                return Err(Problem::new(Kind::ContentType, detail));
            }
        };
        let (parts, body) = request.into_parts();
        if !is_form {
            let bytes = read_within(BODY_TIMEOUT, body, bytes_max).await?;
            return Ok(Self { once: Once::new(&parts, &bytes)?, bytes: bytes.into() });
        }
        let whole = read_within(BODY_TIMEOUT, body, bytes_max + FORM_BYTES_MAX).await?;
        let mut form = Request::new(axum::body::Body::from(whole));
        *form.headers_mut() = parts.headers.clone();
        let bytes = file(Multipart::from_request(form, &()).await.map_err(|_| unreadable())?).await?;
        Ok(Self { once: Once::new(&parts, &bytes)?, bytes })
    }
}

async fn file(mut form: Multipart) -> Result<Vec<u8>, Problem> {
    let mut found = None;
    while let Some(field) = form.next_field().await.map_err(|_| unreadable())? {
        if field.name() != Some(FIELD) || found.is_some() {
            return Err(unreadable());
        }
        found = Some(field.bytes().await.map_err(|_| unreadable())?);
    }
    found.map(Into::into).ok_or_else(unreadable)
}

fn unreadable() -> Problem {
    Problem::new(Kind::BodyUnreadable, format!("The form has to have one field, the file {FIELD:?}."))
}
