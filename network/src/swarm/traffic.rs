//! Gossip and requests: what passes between the node and its ready peers.
//!
//! Invariant: a peer's requests are charged before they are served, and our own are held back by
//! the same buckets; the node sees only what is within every bound. Source: `spec/07-p2p.md#quotas`.

use libp2p::{
    PeerId,
    gossipsub::{self, MessageAcceptance},
    request_response::{
        Event, InboundFailure, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
    },
};
use tokio::sync::oneshot;

use super::{
    codec::{Answer, Incoming},
    peer::{Buckets, EarlyMessage, EarlyRequest, Stage},
    sanctions::frame_error,
    task::{Asked, Task},
};
use crate::{
    counters::{BadInput, Dropped, Limited},
    error::RequestError,
    event::{GossipToken, NetworkEvent, Responder},
    limits::{EARLY_MESSAGES_MAX, EARLY_REQUESTS_MAX},
    peers::score::Offence,
    quota::Limit,
    wire::{ErrorCode, SyncRequest, SyncResponse},
};

/// A request that can never pass is told to come back after this time with a smaller one.
const NEVER_MS: u64 = 60_000;
/// How long a peer waits that asks too many things at once.
const BUSY_MS: u32 = 500;

/// What a request is charged for: the bucket and the number of objects asked for.
fn cost(request: &SyncRequest) -> (Limited, u32) {
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).max(1);
    match request {
        SyncRequest::GetHeaders { max, .. } | SyncRequest::GetBareHeaders { max, .. } => {
            (Limited::Headers, (*max).clamp(1, HEADERS_ASKED_MAX))
        }
        SyncRequest::HeadersByRange { count, .. } => {
            (Limited::Headers, (*count).clamp(1, HEADERS_ASKED_MAX))
        }
        SyncRequest::BlocksById(ids) => (Limited::Bodies, length(ids.len())),
        SyncRequest::BlocksByRange { count, .. } => {
            (Limited::Bodies, (*count).clamp(1, BLOCKS_ASKED_MAX))
        }
        SyncRequest::TransactionsById(ids) => (Limited::Transactions, length(ids.len())),
        SyncRequest::BlockTransactions { indexes, .. } => {
            (Limited::Transactions, length(indexes.len()))
        }
        SyncRequest::Proof { .. } => (Limited::Transactions, 1),
    }
}

/// No answer holds more headers, whatever was asked.
const HEADERS_ASKED_MAX: u32 = cairn_protocol::limits::HEADERS_MAX as u32;
/// No answer holds more blocks, whatever was asked.
const BLOCKS_ASKED_MAX: u32 = cairn_protocol::limits::BLOCKS_REQUEST_MAX as u32;

/// Takes the price of a request out of its bucket.
fn charge(buckets: &mut Buckets, now_ms: u64, request: &SyncRequest) -> Result<(), (Limited, u64)> {
    let (kind, tokens) = cost(request);
    let bucket = match kind {
        Limited::Headers => &mut buckets.headers,
        Limited::Bodies => &mut buckets.bodies,
        _ => &mut buckets.transactions,
    };
    let wait = |kind| {
        move |limit| match limit {
            Limit::RetryAfterMs(ms) => (kind, ms),
            Limit::Never => (kind, NEVER_MS),
        }
    };
    buckets
        .answer_kib
        .take(now_ms, 0)
        .map_err(wait(Limited::AnswerBytes))?;
    bucket.take(now_ms, tokens).map_err(wait(kind))
}

impl Task {
    pub(super) fn on_gossip_event(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            } => {
                self.on_gossip(propagation_source, message_id, message);
            }
            gossipsub::Event::SlowPeer {
                peer_id,
                failed_messages,
            } => {
                let count = failed_messages.priority + failed_messages.non_priority;
                self.counters.dropped_many(Dropped::SlowPeer, count as u64);
                self.punish(peer_id, Offence::Slow);
            }
            _ => {}
        }
    }

    fn on_gossip(&mut self, from: PeerId, id: gossipsub::MessageId, message: gossipsub::Message) {
        let Some(topic) = self.topics.get(&message.topic).copied() else {
            self.settle(&id, &from, MessageAcceptance::Ignore);
            return;
        };
        if message.data.len() > topic.bytes_max() {
            self.settle(&id, &from, MessageAcceptance::Reject);
            self.counters.bad_input(BadInput::GossipOversized);
            self.punish(from, Offence::Oversized);
            return;
        }
        let token = GossipToken { id, from, topic };
        match self.peers.get_mut(&from) {
            Some(peer) if peer.is_ready() => self.deliver_gossip(token, message.data),
            Some(peer)
                if peer.stage == Stage::Handshake
                    && peer.early_messages.len() < EARLY_MESSAGES_MAX =>
            {
                peer.early_messages.push(EarlyMessage {
                    token,
                    data: message.data,
                });
            }
            _ => {
                self.counters.dropped(Dropped::GossipEarly);
                self.settle(&token.id, &from, MessageAcceptance::Ignore);
            }
        }
    }

    /// Hands a message to the node, or ignores it when the node does not keep up.
    pub(super) fn deliver_gossip(&mut self, token: GossipToken, data: Vec<u8>) {
        let event = NetworkEvent::Gossip {
            topic: token.topic,
            from: token.from,
            data,
            token,
        };
        if let Err(event) = self.offer(event)
            && let NetworkEvent::Gossip { token, .. } = *event
        {
            self.counters.dropped(Dropped::GossipIn);
            self.settle(&token.id, &token.from, MessageAcceptance::Ignore);
        }
    }

    fn settle(&mut self, id: &gossipsub::MessageId, from: &PeerId, acceptance: MessageAcceptance) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(id, from, acceptance);
    }

    pub(super) fn on_sync_event(
        &mut self,
        event: Event<Incoming<SyncRequest>, Answer<SyncResponse>>,
    ) {
        match event {
            Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request_id,
                    request: Incoming::Good(request),
                    channel,
                } => {
                    self.serving.insert(request_id, peer);
                    if let Some(peer) = self.peers.get_mut(&peer) {
                        peer.served += 1;
                    }
                    self.on_request(peer, request, channel);
                }
                Message::Request {
                    request: Incoming::Bad(error),
                    ..
                } => {
                    self.bad_frame(peer, &error);
                }
                Message::Response {
                    request_id,
                    response,
                } => match response {
                    Answer::Message(answer) => self.on_answer(request_id, Ok(answer)),
                    Answer::Payload(_) => {}
                },
            },
            Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                self.on_request_failure(peer, request_id, error);
            }
            Event::InboundFailure {
                request_id,
                peer,
                error,
                ..
            } => {
                if let InboundFailure::Io(error) = &error {
                    tracing::debug!(%peer, %error, "answer not sent");
                }
                self.served(&request_id);
            }
            Event::ResponseSent { request_id, .. } => self.served(&request_id),
        }
    }

    fn served(&mut self, id: &libp2p::request_response::InboundRequestId) {
        let Some(peer) = self.serving.remove(id) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.served = peer.served.saturating_sub(1);
        }
    }

    fn on_request(
        &mut self,
        id: PeerId,
        request: SyncRequest,
        channel: ResponseChannel<Answer<SyncResponse>>,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        match peer.stage {
            Stage::Ready => self.serve(id, request, channel),
            Stage::Handshake if peer.early_requests.len() < EARLY_REQUESTS_MAX => {
                peer.early_requests.push(EarlyRequest { request, channel });
            }
            Stage::Handshake => {
                self.counters.dropped(Dropped::RequestEarly);
                self.punish(id, Offence::BeforeStatus);
            }
            Stage::Leaving { .. } => self.counters.dropped(Dropped::RequestEarly),
        }
    }

    /// Serves a request of a ready peer within its quota and all bounds.
    pub(super) fn serve(
        &mut self,
        id: PeerId,
        request: SyncRequest,
        channel: ResponseChannel<Answer<SyncResponse>>,
    ) {
        let now_ms = self.clock.now_ms();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if let Err((kind, ms)) = charge(&mut peer.inbound, now_ms, &request) {
            self.counters.limited(kind);
            let retry_after_ms = u32::try_from(ms).unwrap_or(u32::MAX);
            self.refuse(channel, retry_after_ms);
            self.punish(id, Offence::OverQuota);
            return;
        }
        // The request itself is counted already.
        let is_busy = peer.served > self.limits.served_per_peer_max
            || self.serving.len() > self.limits.served_total_max as usize;
        if is_busy {
            self.counters.limited(Limited::Concurrent);
            self.refuse(channel, BUSY_MS);
            return;
        }
        let responder = Responder {
            channel,
            peer: id,
            commands: self.urgent_sender.clone(),
            counters: self.counters.clone(),
        };
        let event = NetworkEvent::Request {
            peer: id,
            request,
            responder,
        };
        if let Err(event) = self.offer(event)
            && let NetworkEvent::Request { responder, .. } = *event
        {
            self.counters.dropped(Dropped::RequestIn);
            self.refuse(responder.channel, BUSY_MS);
        }
    }

    fn refuse(&mut self, channel: ResponseChannel<Answer<SyncResponse>>, retry_after_ms: u32) {
        let error = ErrorCode::RateLimited { retry_after_ms };
        let answer = Answer::Message(SyncResponse::Error(error));
        // An error means that the peer has gone.
        let _ = self
            .swarm
            .behaviour_mut()
            .sync
            .send_response(channel, answer);
    }

    /// Sends the node's answer, and charges its size.
    pub(super) fn answer(
        &mut self,
        id: PeerId,
        channel: ResponseChannel<Answer<SyncResponse>>,
        payload: Vec<u8>,
    ) {
        let now_ms = self.clock.now_ms();
        if let Some(peer) = self.peers.get_mut(&id) {
            let kib = u32::try_from(payload.len().div_ceil(1_024)).unwrap_or(u32::MAX);
            peer.inbound.answer_kib.charge(now_ms, kib);
        }
        let answer = Answer::Payload(payload);
        // An error means that the peer has gone.
        let _ = self
            .swarm
            .behaviour_mut()
            .sync
            .send_response(channel, answer);
    }

    /// Asks a ready peer for the node.
    pub(super) fn ask(
        &mut self,
        id: PeerId,
        request: SyncRequest,
        deadline_ms: u64,
        reply: oneshot::Sender<Result<SyncResponse, RequestError>>,
    ) {
        let now_ms = self.clock.now_ms();
        let asked_max = self.limits.requests_per_peer_max;
        let refused = match self.peers.get_mut(&id) {
            Some(peer) if peer.is_ready() && peer.asked >= asked_max => Some(RequestError::Busy),
            Some(peer) if peer.is_ready() => charge(&mut peer.outbound, now_ms, &request)
                .err()
                .map(|(_, retry_after_ms)| RequestError::Limited { retry_after_ms }),
            _ => Some(RequestError::NotConnected),
        };
        if let Some(error) = refused {
            // The caller may have gone.
            let _ = reply.send(Err(error));
            return;
        }
        let request_id = self
            .swarm
            .behaviour_mut()
            .sync
            .send_request(&id, Incoming::Good(request));
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.asked += 1;
        }
        let deadline_ms = now_ms.saturating_add(deadline_ms);
        self.asked.insert(
            request_id,
            Asked {
                peer: id,
                deadline_ms,
                reply: Some(reply),
            },
        );
    }

    fn on_answer(&mut self, id: OutboundRequestId, outcome: Result<SyncResponse, RequestError>) {
        let Some(asked) = self.asked.remove(&id) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(&asked.peer) {
            peer.asked = peer.asked.saturating_sub(1);
        }
        if let Some(reply) = asked.reply {
            // The caller may have gone.
            let _ = reply.send(outcome);
        }
    }

    fn on_request_failure(&mut self, peer: PeerId, id: OutboundRequestId, error: OutboundFailure) {
        let error = match error {
            OutboundFailure::Timeout => RequestError::Timeout,
            OutboundFailure::Io(error) => match frame_error(&error) {
                // A reset and a truncated answer look the same when a peer goes away.
                Some(frame @ crate::frame::FrameError::Truncated { .. }) => {
                    self.counters.bad_input(BadInput::Truncated);
                    RequestError::Lost(frame.to_string())
                }
                Some(frame) => {
                    self.bad_frame(peer, &frame);
                    RequestError::BadAnswer(frame.to_string())
                }
                None => RequestError::Lost(error.to_string()),
            },
            error => RequestError::Lost(error.to_string()),
        };
        self.on_answer(id, Err(error));
    }

    /// Tells callers whose deadline has passed. The slot stays taken until the stream ends.
    pub(super) fn end_late_requests(&mut self, now_ms: u64) {
        for asked in self
            .asked
            .values_mut()
            .filter(|asked| asked.deadline_ms <= now_ms)
        {
            if let Some(reply) = asked.reply.take() {
                // The caller may have gone.
                let _ = reply.send(Err(RequestError::Timeout));
            }
        }
    }
}
