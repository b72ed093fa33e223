//! Joins the HTTP API to the listeners.

use crate::listen::{Api, ApiRequest, Front};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use std::pin::Pin;
use std::sync::Arc;

pub struct Http;

impl Api for Http {
    fn handle(&self, _: ApiRequest, _: Arc<Front>) -> Pin<Box<dyn Future<Output = Response<Full<Bytes>>>>> {
        Box::pin(async {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        })
    }
}
