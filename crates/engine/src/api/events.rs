//! The answer that tells what happens, as server-sent events (HTML Living Standard §9.2).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use minato_inspect::{Event, Happening};
use tokio::sync::mpsc;

use super::stream;
use crate::control::Control;
use crate::events::Subscriber;

/// Events on their way to the connection. A subscriber that does not read stops here; what it misses then is counted by
/// the buffer before.
const ON_THE_WAY: usize = 16;
/// A comment is sent after so long without an event, so that both sides notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The response that streams events until the client goes away or the engine ends.
pub(super) fn stream(control: Arc<Control>, subscriber: Subscriber) -> Response {
    let (sender, mut frames) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = feed(subscriber, &sender) => {}
            // Whoever reads gets the last event; nobody else is waited for.
            () = stopped(&control) => {}
        }
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, stream::body(move |context| frames.poll_recv(context))).into_response()
}

async fn stopped(control: &Control) {
    control.stopped().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Brings events to the connection until either ends.
async fn feed(mut subscriber: Subscriber, connection: &mpsc::Sender<Bytes>) {
    loop {
        let event = tokio::select! {
            event = subscriber.next() => event,
            () = connection.closed() => return,
            () = tokio::time::sleep(KEEP_ALIVE) => {
                if connection.send(Bytes::from_static(b":\n\n")).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Some(event) = event else { return };
        let last = matches!(event.what, Happening::EngineStopping { .. });
        if connection.send(frame(&event)).await.is_err() || last {
            return;
        }
    }
}

/// JSON has no line break of its own, so an event is one `data` line.
fn frame(event: &Event) -> Bytes {
    let mut frame = b"data: ".to_vec();
    frame.extend(serde_json::to_vec(event).unwrap_or_default());
    frame.extend(b"\n\n");
    frame.into()
}
