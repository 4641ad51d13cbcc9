//! The scheduler: inputs in, effects out.
//!
//! Invariant: each input is handled in one call that leaves no request without a deadline; the
//! same inputs give the same effects. Source: `spec/08-sync.md`.

use cairn_protocol::{hash::BlockId, pow::Work, units::Height};

use super::{
    BATCHES_PER_PEER, BLOCKS_PER_BATCH, Effect, Failure, HEADERS_PER_ANSWER_MIN, HeaderFacts,
    Input, OTHER_TIPS_MAX, Progress, RequestId, Start, Tip,
    bodies::{Batch, Bodies},
    headers::{HeaderRequest, Phase},
    peers::SyncPeers,
    presync::Presync,
    progress::Meter,
};
use crate::peers::score::Offence;

/// Behind by at most this many blocks a node counts as synced: blocks arrive while we look.
const SYNCED_BLOCKS: Height = 2;

/// A peer whose headers a bound of our own stopped is asked for more after this time.
const REFUSED_WAIT_MS: u64 = 5_000;

/// The state machine of one node's sync.
#[derive(Clone, Debug)]
pub struct Scheduler<P> {
    secret: [u8; 16],
    work_min: Work,
    peers: SyncPeers<P>,
    headers: Option<HeaderRequest<P>>,
    bodies: Bodies<P>,
    connected: Height,
    best_header: Tip,
    next_request: u64,
    meter: Meter,
    /// The connected height and the best header when missing bodies were last asked for.
    need_asked: Option<(Height, BlockId)>,
}

impl<P: Ord + Copy> Scheduler<P> {
    /// A node at `best_header`, connected up to `connected`. `secret` are random bits that peers
    /// do not know; `work_min` is the specification's minimum.
    pub fn new(secret: [u8; 16], work_min: Work, connected: Height, best_header: Tip) -> Self {
        Self {
            secret,
            work_min,
            peers: SyncPeers::new(),
            headers: None,
            bodies: Bodies::new(),
            connected,
            best_header,
            next_request: 0,
            meter: Meter::default(),
            need_asked: None,
        }
    }

    /// Whether no peer claims much more than what is connected.
    pub fn is_synced(&self) -> bool {
        self.total() <= self.connected + SYNCED_BLOCKS
    }

    /// How far sync has come.
    pub fn progress(&self) -> Progress {
        let total = self.total();
        let remaining = total.saturating_sub(self.connected);
        Progress {
            done: self.connected,
            total,
            headers: self.best_header.height,
            eta_s: self.meter.eta_s(remaining),
        }
    }

    /// The height that the best claim leads to.
    fn total(&self) -> Height {
        let better = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_believed() && peer.tip.work > self.best_header.work);
        let claimed = better.map(|(_, peer)| peer.tip.height).max().unwrap_or(0);
        claimed.max(self.best_header.height).max(self.connected)
    }

    /// Handles one input. `now_ms` never goes back.
    pub fn handle(&mut self, now_ms: u64, input: Input<P>, effects: &mut Vec<Effect<P>>) {
        match input {
            Input::Tick => self.tick(now_ms, effects),
            Input::Peer { peer, tip, lowest } => self.peers.update(peer, tip, lowest),
            Input::PeerGone(peer) => self.forget(peer),
            Input::Chain {
                connected,
                best_header,
            } => {
                self.connected = connected;
                self.best_header = best_header;
                self.bodies.connected(connected);
            }
            Input::Need { best, others } => self.bodies.need(now_ms, best, others),
            Input::HeadersArrived { request, ids } => {
                self.on_headers(now_ms, request, &ids, effects);
            }
            Input::HeadersStored {
                request,
                last,
                refused,
            } => self.on_stored(now_ms, request, last, refused, effects),
            Input::Moved { request } => {
                if let Some(headers) = self.take_headers(request) {
                    // No fault, but no proof either: whoever always moves is asked ever less.
                    self.peers.unproven(now_ms, &headers.peer);
                }
            }
            Input::HeadersBad { request, offence } => {
                if let Some(headers) = self.take_headers(request) {
                    self.blame(now_ms, headers.peer, offence, effects);
                }
            }
            Input::BareHeadersArrived {
                request,
                anchor,
                facts,
            } => {
                self.on_bare_headers(now_ms, request, anchor, &facts, effects);
            }
            Input::BodiesArrived { request, ids } => self.on_bodies(now_ms, request, &ids, effects),
            Input::BodyBad { id, is_content } => {
                if let Some(peer) = self.bodies.take(&id, is_content) {
                    self.blame(now_ms, peer, Offence::InvalidBlock, effects);
                }
            }
            Input::Failed { request, failure } => self.on_failed(now_ms, request, failure, effects),
        }
        self.ask(now_ms, effects);
    }

    fn tick(&mut self, now_ms: u64, effects: &mut Vec<Effect<P>>) {
        let is_late =
            |headers: &HeaderRequest<P>| headers.storing.is_none() && headers.deadline_ms <= now_ms;
        let mut late = self.bodies.late(now_ms);
        late.extend(
            self.headers
                .as_ref()
                .filter(|h| is_late(h))
                .map(|headers| headers.request),
        );
        for request in late {
            self.on_failed(now_ms, request, Failure::Timeout, effects);
        }
        if self.meter.sample(now_ms, self.connected) && !self.is_synced() {
            effects.push(Effect::Progress(self.progress()));
        }
        self.need_asked = None;
    }

    fn forget(&mut self, peer: P) {
        self.peers.remove(&peer);
        if self
            .headers
            .as_ref()
            .is_some_and(|headers| headers.peer == peer)
        {
            self.headers = None;
        }
        for request in self.bodies.requests_of(peer) {
            self.bodies.finished(request);
        }
    }

    fn take_headers(&mut self, request: RequestId) -> Option<HeaderRequest<P>> {
        self.headers.take_if(|headers| headers.request == request)
    }

    /// Punishes a peer, benches it, and stops asking it for headers.
    fn blame(&mut self, now_ms: u64, peer: P, offence: Offence, effects: &mut Vec<Effect<P>>) {
        self.peers.bench(now_ms, &peer);
        effects.push(Effect::Punish { peer, offence });
    }

    fn on_failed(
        &mut self,
        now_ms: u64,
        request: RequestId,
        failure: Failure,
        effects: &mut Vec<Effect<P>>,
    ) {
        let peer = if let Some(headers) = self.take_headers(request) {
            headers.peer
        } else if let Some(batch) = self.bodies.finished(request) {
            self.free_batch(batch.peer);
            batch.peer
        } else {
            return;
        };
        match failure {
            Failure::Timeout => {
                self.peers.timed_out(now_ms, &peer);
                effects.push(Effect::Punish {
                    peer,
                    offence: Offence::Stalled,
                });
            }
            Failure::Lost => self.peers.bench(now_ms, &peer),
            Failure::Wait { ms } => self.peers.wait(now_ms, &peer, ms),
            Failure::WrongAnswer => self.blame(now_ms, peer, Offence::WrongAnswer, effects),
        }
    }

    fn free_batch(&mut self, peer: P) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.batches = peer.batches.saturating_sub(1);
        }
    }

    // Headers.

    fn on_bare_headers(
        &mut self,
        now_ms: u64,
        request: RequestId,
        anchor: Option<Tip>,
        facts: &[HeaderFacts],
        effects: &mut Vec<Effect<P>>,
    ) {
        let Some(mut headers) = self.take_headers(request) else {
            return;
        };
        let Phase::Show(presync) = headers.phase else {
            self.headers = Some(headers);
            return;
        };
        let presync = presync.or_else(|| {
            anchor.map(|anchor| Box::new(Presync::new(self.secret, anchor, self.work_min)))
        });
        let Some(mut presync) = presync else {
            // Headers that build on nothing we have, or none at all: nothing to show.
            self.claimed_too_much(now_ms, headers.peer, self.best_header, effects);
            return;
        };
        let is_last = facts.len() < HEADERS_PER_ANSWER_MIN;
        if presync.show(facts, is_last).is_err() {
            let shown = Tip {
                id: presync.last(),
                ..presync.anchor()
            };
            self.lower_claim(headers.peer, shown);
            self.peers.unproven(now_ms, &headers.peer);
            self.blame(now_ms, headers.peer, Offence::LowWork, effects);
            return;
        }
        self.peers
            .succeeded(&headers.peer, now_ms.saturating_sub(headers.asked_ms));
        headers.phase = if presync.is_shown() {
            Phase::Check(presync)
        } else {
            Phase::Show(Some(presync))
        };
        self.continue_headers(now_ms, headers, effects);
    }

    fn on_headers(
        &mut self,
        now_ms: u64,
        request: RequestId,
        ids: &[BlockId],
        effects: &mut Vec<Effect<P>>,
    ) {
        let Some(mut headers) = self.take_headers(request) else {
            return;
        };
        if let Phase::Check(presync) = &mut headers.phase {
            if ids.is_empty() || presync.check(ids).is_err() {
                self.blame(now_ms, headers.peer, Offence::WrongAnswer, effects);
                return;
            }
        } else if !matches!(headers.phase, Phase::Direct) {
            self.blame(now_ms, headers.peer, Offence::WrongAnswer, effects);
            return;
        }
        self.peers
            .succeeded(&headers.peer, now_ms.saturating_sub(headers.asked_ms));
        headers.storing = Some(ids.len());
        self.headers = Some(headers);
        effects.push(Effect::StoreHeaders {
            request,
            count: ids.len(),
        });
    }

    fn on_stored(
        &mut self,
        now_ms: u64,
        request: RequestId,
        last: Option<Tip>,
        refused: bool,
        effects: &mut Vec<Effect<P>>,
    ) {
        let Some(mut headers) = self.take_headers(request) else {
            return;
        };
        let Some(count) = headers.storing.take() else {
            self.headers = Some(headers);
            return;
        };
        // An answer that leads no further than the one before would be given for ever.
        let before = headers.stored.map(|tip| tip.work);
        let leads_on = last.is_some_and(|last| before.is_none_or(|before| last.work > before));
        headers.stored = last.or(headers.stored);
        if let Some(last) = last
            && last.work > self.best_header.work
        {
            self.best_header = last;
        }
        let is_checked = match &headers.phase {
            Phase::Check(presync) => presync.is_done(),
            _ => true,
        };
        if is_checked {
            headers.phase = Phase::Direct;
        }
        let claimed = self.peers.get(&headers.peer).map(|peer| peer.tip.work);
        let is_short = claimed.is_some_and(|claimed| claimed > self.best_header.work);
        if refused {
            self.peers
                .headers_later(now_ms, &headers.peer, REFUSED_WAIT_MS);
            return;
        }
        let goes_on = count >= HEADERS_PER_ANSWER_MIN || !is_checked;
        if (is_short || !is_checked) && goes_on && leads_on {
            self.continue_headers(now_ms, headers, effects);
            return;
        }
        if !is_short {
            self.peers.proven(&headers.peer);
        } else {
            let shown = headers.stored.unwrap_or(self.best_header);
            self.claimed_too_much(now_ms, headers.peer, shown, effects);
        }
    }

    /// The peer has no more to show than `shown`, but claimed more work.
    fn claimed_too_much(&mut self, now_ms: u64, peer: P, shown: Tip, effects: &mut Vec<Effect<P>>) {
        self.lower_claim(peer, shown);
        self.peers.unproven(now_ms, &peer);
        self.blame(now_ms, peer, Offence::Withheld, effects);
    }

    fn lower_claim(&mut self, peer: P, shown: Tip) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.tip = shown;
        }
    }

    fn request_id(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// Asks the same peer for the headers that follow.
    fn continue_headers(
        &mut self,
        now_ms: u64,
        mut headers: HeaderRequest<P>,
        effects: &mut Vec<Effect<P>>,
    ) {
        let (peer, request) = (headers.peer, self.request_id());
        let deadline_ms = self.peers.deadline_ms();
        let stored = headers.stored.map(|tip| tip.id);
        let effect = match &headers.phase {
            Phase::Show(None) => Effect::AskBareHeaders {
                peer,
                request,
                start: Start::Locator,
                deadline_ms,
            },
            Phase::Show(Some(presync)) => {
                let start = Start::After(presync.last());
                Effect::AskBareHeaders {
                    peer,
                    request,
                    start,
                    deadline_ms,
                }
            }
            Phase::Check(presync) => {
                let start = Start::After(stored.unwrap_or(presync.anchor().id));
                Effect::AskHeaders {
                    peer,
                    request,
                    start,
                    deadline_ms,
                }
            }
            Phase::Direct => {
                let start = stored.map_or(Start::Locator, Start::After);
                Effect::AskHeaders {
                    peer,
                    request,
                    start,
                    deadline_ms,
                }
            }
        };
        headers.request = request;
        headers.asked_ms = now_ms;
        headers.deadline_ms = now_ms + deadline_ms;
        self.headers = Some(headers);
        effects.push(effect);
    }

    // Bodies.

    fn on_bodies(
        &mut self,
        now_ms: u64,
        request: RequestId,
        ids: &[BlockId],
        effects: &mut Vec<Effect<P>>,
    ) {
        let Some(batch) = self.bodies.finished(request) else {
            return;
        };
        self.free_batch(batch.peer);
        let asked = batch.blocks.iter().map(|(_, id)| id);
        if ids.len() > batch.blocks.len() || !asked.zip(ids).all(|(asked, id)| asked == id) {
            self.blame(now_ms, batch.peer, Offence::WrongAnswer, effects);
            return;
        }
        if ids.is_empty() {
            let first = batch.blocks.first().map(|(_, id)| *id);
            let tip = self.peers.get(&batch.peer).map(|peer| peer.tip.id);
            let leads_to_tip = first.zip(tip).is_some_and(|(block, tip)| {
                tip == self.best_header.id || self.bodies.leads_to(&block, &tip)
            });
            if leads_to_tip {
                self.blame(now_ms, batch.peer, Offence::Withheld, effects);
            } else {
                // It may be on a branch of its own.
                self.peers.bench(now_ms, &batch.peer);
            }
            return;
        }
        let latency_ms = now_ms.saturating_sub(batch.asked_ms);
        self.peers
            .brought(&batch.peer, latency_ms, batch.blocks.len(), ids.len());
        // Also at or below our height: the branch that wins may fork below it. What was not noted
        // as arrived would be asked again at once, and again.
        for block in batch.blocks.iter().take(ids.len()) {
            self.bodies.arrived(now_ms, *block, batch.peer);
        }
    }

    // Whom to ask next.

    fn ask(&mut self, now_ms: u64, effects: &mut Vec<Effect<P>>) {
        if self.headers.is_none() {
            self.ask_headers(now_ms, effects);
        }
        self.ask_need(effects);
        while self.ask_bodies(now_ms, effects) {}
    }

    /// Asks the node what is missing: when the best header changed, when a batch's worth has been
    /// connected since, and once per tick.
    fn ask_need(&mut self, effects: &mut Vec<Effect<P>>) {
        let is_fresh = self.need_asked.is_some_and(|(connected, best)| {
            best == self.best_header.id && self.connected < connected + BLOCKS_PER_BATCH as Height
        });
        let is_behind = self.connected < self.best_header.height;
        if is_behind && self.bodies.is_hungry() && !is_fresh {
            self.need_asked = Some((self.connected, self.best_header.id));
            let toward = self.other_tips();
            effects.push(Effect::NeedBodies { toward });
        }
    }

    /// Tips of peers besides the best header: of those who proved what they claimed first, then by
    /// work. A claim alone would crowd out the others.
    pub fn other_tips(&self) -> Vec<BlockId> {
        let peers = self.peers.iter().map(|(_, peer)| peer);
        let mut others: Vec<_> = peers
            .filter(|peer| peer.tip.id != self.best_header.id)
            .map(|peer| (peer.unproven, peer.failures, peer.tip))
            .collect();
        others.sort_by(|a, b| {
            let by_trust = (a.0, a.1).cmp(&(b.0, b.1));
            by_trust
                .then(b.2.work.cmp(&a.2.work))
                .then(a.2.id.cmp(&b.2.id))
        });
        let mut tips = Vec::new();
        for (.., tip) in others {
            if tips.len() < OTHER_TIPS_MAX && !tips.contains(&tip.id) {
                tips.push(tip.id);
            }
        }
        tips
    }

    /// The free peer with the best claim; among equals the fastest.
    fn ask_headers(&mut self, now_ms: u64, effects: &mut Vec<Effect<P>>) {
        let best = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                peer.tip.work > self.best_header.work
                    && peer.benched_until_ms <= now_ms
                    && peer.headers_at_ms <= now_ms
            })
            .max_by(|(_, a), (_, b)| {
                let by_work = a.tip.work.cmp(&b.tip.work);
                // A claim costs nothing: who failed before comes after who did not.
                b.failures
                    .cmp(&a.failures)
                    .then(by_work)
                    .then(b.latency_ms.cmp(&a.latency_ms))
            })
            .map(|(peer, _)| *peer);
        let Some(peer) = best else { return };
        let phase = if self.best_header.work < self.work_min {
            Phase::Show(None)
        } else {
            Phase::Direct
        };
        let headers = HeaderRequest {
            peer,
            request: RequestId(0),
            phase,
            asked_ms: now_ms,
            deadline_ms: now_ms,
            storing: None,
            stored: None,
        };
        self.continue_headers(now_ms, headers, effects);
    }

    /// Asks one peer for one batch; `false` when there is nothing or nobody to ask.
    fn ask_bodies(&mut self, now_ms: u64, effects: &mut Vec<Effect<P>>) -> bool {
        let free = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.benched_until_ms <= now_ms && peer.batches < BATCHES_PER_PEER);
        let mut free: Vec<_> = free
            .map(|(id, peer)| {
                (
                    peer.failures,
                    peer.latency_ms * (1 + peer.batches as u64),
                    *id,
                    peer,
                )
            })
            .collect();
        free.sort_by_key(|(failures, latency_ms, id, _)| (*failures, *latency_ms, *id));
        let found = free.into_iter().find_map(|(.., id, peer)| {
            self.bodies
                .next_batch(
                    (peer.tip.height, peer.tip.id),
                    peer.lowest,
                    peer.batch_blocks,
                )
                .map(|blocks| (id, blocks))
        });
        let Some((peer, blocks)) = found else {
            return false;
        };
        let request = self.request_id();
        let deadline_ms = self.peers.deadline_ms();
        let ids = blocks.iter().map(|(_, id)| *id).collect();
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.batches += 1;
        }
        let batch = Batch {
            peer,
            blocks,
            asked_ms: now_ms,
            deadline_ms: now_ms + deadline_ms,
        };
        self.bodies.asked(request, batch);
        effects.push(Effect::AskBodies {
            peer,
            request,
            ids,
            deadline_ms,
        });
        true
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
