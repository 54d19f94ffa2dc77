//! The service's error, and how it is answered.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use diesel_async::pooled_connection::deadpool::{BuildError, PoolError};

pub type Result<T> = std::result::Result<T, AppError>;

#[derive(Debug)]
pub enum AppError {
    /// From a verb, or from Diesel.
    Store(agent_session_store::Error),
    Migration(Box<dyn std::error::Error + Send + Sync>),
    /// No connection could be had.
    Pool(PoolError),
    Build(BuildError),
}

impl From<agent_session_store::Error> for AppError {
    fn from(e: agent_session_store::Error) -> Self {
        Self::Store(e)
    }
}

/// Diesel's closures need this one for a transaction.
impl From<diesel::result::Error> for AppError {
    fn from(e: diesel::result::Error) -> Self {
        Self::Store(e.into())
    }
}

impl From<PoolError> for AppError {
    fn from(e: PoolError) -> Self {
        Self::Pool(e)
    }
}

impl From<BuildError> for AppError {
    fn from(e: BuildError) -> Self {
        Self::Build(e)
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Store(e) => StatusCode::from_u16(e.kind().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Pool(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Migration(_) | Self::Build(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        // The store's errors quote nothing that is stored, except ids.
        let text = match self {
            Self::Store(e) if !status.is_server_error() => e.to_string(),
            other => {
                eprintln!("{other:?}");
                status.to_string()
            }
        };
        (status, text).into_response()
    }
}
