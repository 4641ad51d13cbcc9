//! `/v1/events`: what happens, over a WebSocket, with resume.
//!
//! ```text
//!  node ──chain_changed()──► watch ─┐
//!  node ──transaction()──► broadcast┤► one task per socket ─► client
//!                ChainView ◄────────┘  a ChainCursor compares the chain with what was told
//! ```
//!
//! Invariant: `block`, `reorg` and `finalized` messages are not queued anywhere. The node only says
//! that the chain changed; each socket's [`ChainCursor`] compares the chain as it is with the last
//! block that this client was told, and tells the difference. So a client that applies the messages
//! in order always has the main chain: nothing is lost, nothing comes twice, and a resume is the
//! same walk from another height. `transaction` messages are queued, and a client that leaves
//! [`EVENT_QUEUE_MAX`] of them unread is dropped with a reason.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use utoipa::IntoParams;

use super::backend::{Answer, BackendError, ChainView};
use super::extract::QueryArgs;
use super::limits::{EVENT_CURSOR_BLOCKS_MAX, EVENT_QUEUE_MAX};
use super::model::block::{BlockRef, ChainPoint};
use super::model::event::{Event, Reorg};
use super::model::hash::Hash32;
use super::model::mempool::MempoolTransaction;
use super::problem::{Problem, ProblemDocument, ReadProblems};
use super::state::Api;

/// Messages made in one step of a walk along the chain: bounds the memory of a resume.
const STEP_MESSAGES_MAX: usize = 64;
/// What a client may send in one message; it has nothing to say.
const CLIENT_MESSAGE_BYTES_MAX: usize = 1024;
/// Time for the last words to a client that is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the node drops its news.
#[derive(Debug)]
pub struct EventHub {
    chain: watch::Sender<u64>,
    transactions: broadcast::Sender<Arc<MempoolTransaction>>,
}

impl Default for EventHub {
    fn default() -> Self {
        Self::new(EVENT_QUEUE_MAX)
    }
}

impl EventHub {
    /// A hub whose sockets may each leave `queue_max` transactions unread.
    pub fn new(queue_max: usize) -> Self {
        Self {
            chain: watch::Sender::new(0),
            transactions: broadcast::Sender::new(queue_max),
        }
    }

    /// Says that the tip or the finalized block changed; call it after the new snapshot is out.
    pub fn chain_changed(&self) {
        self.chain
            .send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Says that a transaction came into the mempool.
    pub fn transaction(&self, transaction: MempoolTransaction) {
        // No receiver means no client: nobody misses it.
        let _ = self.transactions.send(Arc::new(transaction));
    }

    /// A counter that moves with the chain, for others who wait for it.
    pub fn watch_chain(&self) -> watch::Receiver<u64> {
        self.chain.subscribe()
    }
}

/// A block that a client was told.
#[derive(Clone, Copy, Debug)]
struct Told {
    point: ChainPoint,
    parent: Hash32,
}

/// How far one client knows the chain.
#[derive(Debug)]
pub struct ChainCursor {
    told: VecDeque<Told>,
    next_height: u64,
    finalized_height: u64,
}

impl ChainCursor {
    /// A cursor of a client that knows everything up to the tip, or, given `from_height`, nothing
    /// from there on.
    ///
    /// # Errors
    /// When the store fails.
    pub fn new(chain: &dyn ChainView, from_height: Option<u64>) -> Answer<Self> {
        let tip = chain.tip();
        let mut cursor = Self {
            told: VecDeque::new(),
            next_height: from_height.unwrap_or(tip.height.saturating_add(1)),
            finalized_height: chain.finalized().height,
        };
        if from_height.is_none() {
            let parent = chain.block_summary(tip.height)?.map(|block| block.parent);
            cursor.told.push_back(Told {
                point: tip,
                parent: parent.unwrap_or_default(),
            });
        }
        Ok(cursor)
    }

    /// The next messages, at most `messages_max`; none when the client knows the chain as it is.
    ///
    /// # Errors
    /// When the store fails.
    pub fn advance(&mut self, chain: &dyn ChainView, messages_max: usize) -> Answer<Vec<Event>> {
        let mut messages = Vec::new();
        if let Some(reorg) = self.leave_stale(chain)? {
            messages.push(Event::Reorg(reorg));
        }
        let tip = chain.tip();
        while messages.len() < messages_max && self.next_height <= tip.height {
            let block = chain.block_summary(self.next_height)?.ok_or_else(|| {
                BackendError::Fault(format!(
                    "no block at height {} below the tip at {}",
                    self.next_height, tip.height
                ))
            })?;
            self.tell(
                ChainPoint {
                    height: block.height,
                    id: block.id,
                },
                block.parent,
            );
            messages.push(Event::Block(block));
        }
        let finalized = chain.finalized();
        let is_told = finalized.height < self.next_height;
        if messages.len() < messages_max && is_told && finalized.height > self.finalized_height {
            self.finalized_height = finalized.height;
            messages.push(Event::Finalized(finalized));
        }
        Ok(messages)
    }

    fn tell(&mut self, point: ChainPoint, parent: Hash32) {
        if self.told.len() == EVENT_CURSOR_BLOCKS_MAX {
            self.told.pop_front();
        }
        self.told.push_back(Told { point, parent });
        self.next_height = point.height.saturating_add(1);
    }

    /// Walks back from the last told block to the main chain; a message when there was a way.
    fn leave_stale(&mut self, chain: &dyn ChainView) -> Answer<Option<Reorg>> {
        let Some(last) = self.told.back().map(|told| told.point) else {
            return Ok(None);
        };
        let mut at = last;
        while chain.block_id(at.height)? != Some(at.id) {
            at = self.step_back(chain, at)?;
        }
        if at == last {
            return Ok(None);
        }
        self.next_height = at.height.saturating_add(1);
        let depth = last.height - at.height;
        Ok(Some(Reorg {
            fork: at,
            old_tip: last,
            new_tip: chain.tip(),
            depth,
        }))
    }

    /// The parent of a told block, from memory or, below it, from the store.
    fn step_back(&mut self, chain: &dyn ChainView, at: ChainPoint) -> Answer<ChainPoint> {
        let remembered = self
            .told
            .pop_back_if(|told| told.point == at)
            .map(|told| told.parent);
        let parent = match remembered {
            Some(parent) => Some(parent),
            None => chain
                .block(BlockRef::Id(at.id))?
                .map(|block| block.summary.parent),
        };
        match (parent, at.height.checked_sub(1)) {
            (Some(id), Some(height)) => Ok(ChainPoint { height, id }),
            _ => Err(BackendError::Fault(format!(
                "the parent of block {} at height {} is not known any more",
                at.id, at.height
            ))),
        }
    }
}

/// The query of `/v1/events`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Tell the blocks of the main chain from this height on before news; without it news only.
    pub from_height: Option<u64>,
}

/// What happens, as a WebSocket of JSON messages.
///
/// Messages are one JSON object each, see the schema `Event`. A client that does not read is closed
/// with code 1008 and a reason; a stopping node closes with 1001.
#[utoipa::path(get, path = "/v1/events", tag = "chain", params(EventsQuery),
    responses(
        (status = 101, description = "A WebSocket of `Event` messages.", body = Event),
        (status = 426, description = "The request is no WebSocket upgrade.",
            body = ProblemDocument, content_type = "application/problem+json"),
        ReadProblems,
    ))]
pub async fn events(
    State(api): State<Arc<Api>>,
    QueryArgs(query): QueryArgs<EventsQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|error| {
        Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "websocket_expected",
            error.body_text(),
        )
        .expected("a WebSocket upgrade request")
    })?;
    let place = Arc::clone(&api.websockets)
        .try_acquire_owned()
        .map_err(|_| {
            Problem::busy(format!(
                "{} WebSockets are open already",
                api.limits.websockets_max
            ))
        })?;
    let upgrade = upgrade.max_message_size(CLIENT_MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |socket| async move {
        Session::run(api, socket, query.from_height, place).await;
    }))
}

/// Why a session ends; the client reads it in the close frame.
struct Farewell {
    code: u16,
    reason: String,
}

impl Farewell {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    fn slow(what: impl std::fmt::Display) -> Self {
        Self::new(close_code::POLICY, format!("slow consumer: {what}"))
    }
}

impl From<Problem> for Farewell {
    fn from(problem: Problem) -> Self {
        Self::new(close_code::ERROR, problem.code)
    }
}

/// One client's socket.
struct Session {
    api: Arc<Api>,
    socket: WebSocket,
}

impl Session {
    async fn run(
        api: Arc<Api>,
        socket: WebSocket,
        from_height: Option<u64>,
        _place: OwnedSemaphorePermit,
    ) {
        let mut session = Self { api, socket };
        if let Err(farewell) = session.serve(from_height).await {
            session.close(farewell).await;
        }
    }

    async fn serve(&mut self, from_height: Option<u64>) -> Result<(), Farewell> {
        // Subscribed first: a change between this line and the walk is seen twice, never missed.
        let mut chain = self.api.events.chain.subscribe();
        let mut transactions = self.api.events.transactions.subscribe();
        let mut stopping = self.api.stopping.clone();
        let mut ping = interval(self.api.limits.ping_interval);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unanswered_pings = 0;
        let mut cursor = self
            .api
            .read(move |chain| ChainCursor::new(chain, from_height))
            .await?;
        cursor = self.tell_chain(cursor, &mut stopping).await?;
        loop {
            tokio::select! {
                biased;
                _ = stopping.changed() => {
                    return Err(Farewell::new(close_code::AWAY, "the node is stopping"));
                }
                message = self.socket.recv() => match message {
                    None | Some(Err(_) | Ok(Message::Close(_))) => return Ok(()),
                    Some(Ok(Message::Pong(_))) => unanswered_pings = 0,
                    Some(Ok(_)) => {}
                },
                changed = chain.changed() => {
                    if changed.is_err() {
                        return Err(Farewell::new(close_code::AWAY, "the node is stopping"));
                    }
                    cursor = self.tell_chain(cursor, &mut stopping).await?;
                }
                transaction = transactions.recv() => match transaction {
                    Ok(transaction) => {
                        self.send_event(&Event::Transaction((*transaction).clone())).await?;
                    }
                    Err(RecvError::Lagged(missed)) => {
                        return Err(Farewell::slow(format!("{missed} messages behind")));
                    }
                    Err(RecvError::Closed) => {
                        return Err(Farewell::new(close_code::AWAY, "the node is stopping"));
                    }
                },
                _ = ping.tick() => {
                    if unanswered_pings == 2 {
                        return Err(Farewell::slow("two pings without answer"));
                    }
                    unanswered_pings += 1;
                    self.send(Message::Ping(Vec::new().into())).await?;
                }
            }
        }
    }

    /// Tells everything between what the client knows and the chain as it is.
    async fn tell_chain(
        &mut self,
        mut cursor: ChainCursor,
        stopping: &mut watch::Receiver<bool>,
    ) -> Result<ChainCursor, Farewell> {
        loop {
            let step = self.api.read(move |chain| {
                let messages = cursor.advance(chain, STEP_MESSAGES_MAX)?;
                Ok((cursor, messages))
            });
            let (moved, messages) = step.await?;
            cursor = moved;
            if messages.is_empty() {
                return Ok(cursor);
            }
            for message in &messages {
                self.send_event(message).await?;
            }
            if *stopping.borrow() {
                return Err(Farewell::new(close_code::AWAY, "the node is stopping"));
            }
        }
    }

    async fn send_event(&mut self, event: &Event) -> Result<(), Farewell> {
        let text = serde_json::to_string(event).expect("events are plain data");
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Farewell> {
        let patience = self.api.limits.write_stall_timeout;
        match timeout(patience, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Farewell::new(
                close_code::ABNORMAL,
                "the connection is gone",
            )),
            Err(_) => Err(Farewell::slow(format!("nothing read for {patience:?}"))),
        }
    }

    async fn close(&mut self, farewell: Farewell) {
        let frame = CloseFrame {
            code: farewell.code,
            reason: farewell.reason.into(),
        };
        let _ = timeout(CLOSE_TIMEOUT, self.socket.send(Message::Close(Some(frame)))).await;
    }
}
