//! The read-only endpoints. Nothing on them changes anything.
//!
//! One request a connection, few connections, short deadlines, and a newcomer takes the place of the oldest: whoever reaches
//! this port can neither hold the node up nor make it seem not ready to others.

mod page;
mod status;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::node::Node;

/// Connections that are served at one time; one more ends the oldest.
const CONNECTIONS: usize = 64;
/// For the request, and then for all of the answer.
const REQUEST: Duration = Duration::from_secs(2);
const WHOLE: Duration = Duration::from_secs(30);
/// How long accepting rests when it fails.
const PAUSE: Duration = Duration::from_millis(100);

/// Which paths a socket serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// Everything, to those that `admin.allow` admits.
    Admin,
    /// `/healthz` and `/readyz`, to those that `health.allow` admits.
    Health,
}

/// Serves until the runtime ends.
pub(crate) async fn serve(socket: TcpListener, node: Arc<Node>, surface: Surface) {
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::with_capacity(CONNECTIONS);
    loop {
        let (stream, client) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "admin: accepting failed");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        open.retain(|task| !task.is_finished());
        // A request that came is answered at once, so the oldest is one that says nothing or does not read.
        if open.len() >= CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let node = Arc::clone(&node);
        open.push_back(tokio::spawn(async move {
            let served = tokio::time::timeout(WHOLE, one(stream, client, node, surface)).await;
            if let Ok(Err(error)) = served {
                tracing::debug!(%client, %error, "admin: connection failed");
            }
        }));
    }
}

async fn one(stream: TcpStream, client: SocketAddr, node: Arc<Node>, surface: Surface) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(&node, surface, client, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .keep_alive(false)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn respond(node: &Node, surface: Surface, client: SocketAddr, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let settings = &node.shared().settings;
    let endpoint = match surface {
        Surface::Admin => &settings.admin,
        Surface::Health => &settings.health,
    };
    if endpoint.as_ref().is_some_and(|endpoint| !endpoint.admits(client.ip().to_canonical())) {
        return plain(StatusCode::FORBIDDEN, "this address is not in the endpoint's `allow`\n");
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "nothing here can be changed: GET or HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match (surface, path) {
        (_, "/healthz") => plain(StatusCode::OK, "alive\n"),
        (_, "/readyz") => {
            let (ready, text) = status::readiness(node);
            plain(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &text)
        }
        (Surface::Admin, "/metrics") => match node.metrics().render(&node.facts()) {
            Ok(text) => typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be rendered");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be rendered; see the node's log\n")
            }
        },
        (Surface::Admin, "/status.json") => match serde_json::to_string(&status::Status::of(node)) {
            Ok(text) => typed(StatusCode::OK, "application/json", text),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        },
        (Surface::Admin, "/status") => {
            typed(StatusCode::OK, "text/html; charset=utf-8", page::html(&status::Status::of(node)))
        }
        (Surface::Admin, "/") => plain(StatusCode::OK, "/healthz  /readyz  /metrics  /status  /status.json\n"),
        _ => plain(StatusCode::NOT_FOUND, "no such page\n"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", text.to_owned())
}

fn typed(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let nothing_else = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(nothing_else));
    response
}
