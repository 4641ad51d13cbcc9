//! The swarm task: its state, its loop and its commands.
//!
//! Invariant: at most [`COMMANDS_PER_TURN`] commands run between two polls of the swarm, and the
//! loop awaits nothing but its select. Source: `spec/07-p2p.md`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    gossipsub::{MessageAcceptance, PublishError as GossipError, TopicHash},
    metrics::{Metrics, Recorder},
    request_response::{InboundRequestId, OutboundRequestId},
    swarm::SwarmEvent,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::MissedTickBehavior,
};

use super::{
    behaviour::{Behaviour, BehaviourEvent},
    command::Command,
    gossip,
    peer::{Peers, Stage},
};
use crate::{
    counters::{BadInput, Dropped, NetCounters},
    error::{PublishError, RequestError},
    event::{NetworkEvent, Verdict},
    handle::{PeerInfo, Shared},
    limits::Limits,
    names::{Names, Topic},
    peers::{
        book::{Book, Direction},
        score::{Offence, Scores},
        store::PeersFile,
    },
    wire::{Status, SyncResponse},
};

/// Commands between two polls of the swarm.
const COMMANDS_PER_TURN: usize = 64;
/// Deadlines, redials and repeated statuses are looked at this often.
const TICK: Duration = Duration::from_millis(250);
/// Room in the event queue that gossip and requests leave for events that must not be lost.
pub(super) const EVENTS_RESERVED: usize = 64;
/// How long a shutdown waits for goodbyes.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// A request of ours that is not answered yet.
pub(super) struct Asked {
    pub peer: PeerId,
    pub deadline_ms: u64,
    /// Taken when the deadline passes before the answer comes.
    pub reply: Option<oneshot::Sender<Result<SyncResponse, RequestError>>>,
}

/// An address without a peer id that is dialled until it answers.
pub(super) struct Nameless {
    pub address: Multiaddr,
    pub next_dial_ms: u64,
    pub failures: u32,
}

/// Unix milliseconds that never go back, whatever happens to the system's clock.
pub(super) struct Clock {
    started: Instant,
    started_ms: u64,
}

impl Clock {
    pub fn new() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            started: Instant::now(),
            started_ms: since_epoch.as_millis() as u64,
        }
    }

    pub fn now_ms(&self) -> u64 {
        self.started_ms + self.started.elapsed().as_millis() as u64
    }
}

/// The state of the swarm task.
pub(crate) struct Task {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) limits: Limits,
    pub(super) private_addresses: bool,
    pub(super) names: Names,
    pub(super) topics: BTreeMap<TopicHash, Topic>,
    pub(super) status: Status,
    pub(super) clock: Clock,
    pub(super) peers: Peers,
    pub(super) book: Book,
    pub(super) scores: Scores<PeerId>,
    /// Peers that may not come back before the time given.
    pub(super) held: BTreeMap<PeerId, u64>,
    pub(super) dialing: BTreeSet<PeerId>,
    pub(super) nameless: Vec<Nameless>,
    pub(super) asked: HashMap<OutboundRequestId, Asked>,
    pub(super) serving: HashMap<InboundRequestId, PeerId>,
    pub(super) peers_file: Option<Arc<Mutex<PeersFile>>>,
    pub(super) saving: Option<JoinHandle<()>>,
    pub(super) next_dial_ms: u64,
    pub(super) next_walk_ms: u64,
    /// Random walks begun.
    pub(super) walks: usize,
    pub(super) next_save_ms: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<NetCounters>,
    pub(super) metrics: Metrics,
    pub(super) events: mpsc::Sender<NetworkEvent>,
    /// Events that must not be lost and found no room.
    pub(super) backlog: VecDeque<NetworkEvent>,
    pub(super) urgent: mpsc::Receiver<Command>,
    pub(super) patient: mpsc::Receiver<Command>,
    /// For responders.
    pub(super) urgent_sender: mpsc::Sender<Command>,
}

impl Task {
    /// Runs until a shutdown, or until nobody listens to the events.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let done = loop {
            if let Some(done) = self.turn(&mut tick).await {
                break done;
            }
            self.flush_backlog();
        };
        self.part_from_all().await;
        self.save_now().await;
        // Whoever waits may start again on the same port and the same file.
        drop(self);
        if let Some(done) = done {
            // The caller may have gone.
            let _ = done.send(());
        }
    }

    /// One turn of the loop. `Some` ends it.
    async fn turn(
        &mut self,
        tick: &mut tokio::time::Interval,
    ) -> Option<Option<oneshot::Sender<()>>> {
        for _ in 0..COMMANDS_PER_TURN {
            match self.urgent.try_recv() {
                Ok(Command::Shutdown(done)) => return Some(Some(done)),
                Ok(command) => self.run_command(command),
                Err(_) => break,
            }
        }
        tokio::select! {
            event = self.swarm.select_next_some() => self.on_swarm_event(event),
            Some(command) = self.urgent.recv() => match command {
                Command::Shutdown(done) => return Some(Some(done)),
                command => self.run_command(command),
            },
            Some(command) = self.patient.recv() => self.run_command(command),
            _ = tick.tick() => {
                if self.events.is_closed() {
                    return Some(None);
                }
                self.on_tick();
            }
        }
        None
    }

    fn run_command(&mut self, command: Command) {
        match command {
            Command::Publish { topic, data, reply } => {
                // The caller may have gone.
                let _ = reply.send(self.publish(topic, data));
            }
            Command::Verdict { token, verdict } => self.judge(token, verdict),
            Command::Respond {
                peer,
                channel,
                payload,
            } => self.answer(peer, channel, payload),
            Command::Request {
                peer,
                request,
                deadline_ms,
                reply,
            } => {
                self.ask(peer, request, deadline_ms, reply);
            }
            Command::Report { peer, offence } => self.punish(peer, offence),
            Command::SetStatus(status) => self.set_status(*status),
            Command::Dial(address) => self.dial_address(address),
            Command::Disconnect(peer) => {
                self.part(peer, super::parting::Parting::ordered());
            }
            Command::Shutdown(_) => unreachable!("the loop takes it"),
        }
    }

    fn publish(&mut self, topic: Topic, data: Vec<u8>) -> Result<(), PublishError> {
        let ident = gossip::ident(&self.names, topic);
        match self.swarm.behaviour_mut().gossip.publish(ident, data) {
            Ok(_) => Ok(()),
            Err(GossipError::Duplicate) => Err(PublishError::Duplicate),
            Err(GossipError::NoPeersSubscribedToTopic) => Err(PublishError::NoPeers),
            Err(GossipError::AllQueuesFull(peers)) => {
                self.counters.dropped(Dropped::SlowPeer);
                Err(PublishError::QueuesFull(peers))
            }
            Err(error) => {
                // Sizes were checked before, nothing is signed or transformed.
                tracing::error!(%error, "gossip refused a message");
                Err(PublishError::QueuesFull(0))
            }
        }
    }

    fn judge(&mut self, token: crate::event::GossipToken, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&token.id, &token.from, acceptance);
        if verdict == Verdict::Reject {
            self.counters.bad_input(BadInput::GossipRejected);
            self.punish(token.from, Offence::RejectedGossip);
        }
    }

    fn set_status(&mut self, status: Status) {
        let is_new_best = status.best_id != self.status.best_id;
        self.status = status;
        if is_new_best {
            for peer in self.peers.values_mut().filter(|peer| peer.is_ready()) {
                peer.is_status_due = true;
            }
            self.send_due_statuses();
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.metrics.record(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening for peers");
                self.shared
                    .listen
                    .write()
                    .expect("no reader panics")
                    .push(address.clone());
                self.tell(NetworkEvent::Listening(address));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                let mut listen = self.shared.listen.write().expect("no reader panics");
                listen.retain(|known| *known != address);
            }
            SwarmEvent::ListenerClosed {
                addresses, reason, ..
            } => {
                tracing::warn!(?addresses, ?reason, "listener closed");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                cause,
                ..
            } => {
                let cause = cause.map(|cause| cause.to_string());
                self.on_disconnected(peer_id, connection_id, cause);
            }
            SwarmEvent::IncomingConnectionError {
                error,
                send_back_addr,
                ..
            } => {
                self.on_incoming_error(&error, &send_back_addr);
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                self.on_dial_error(peer_id, &error);
            }
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Status(event) => self.on_status_event(event),
            BehaviourEvent::Goodbye(event) => self.on_goodbye_event(event),
            BehaviourEvent::Sync(event) => self.on_sync_event(event),
            BehaviourEvent::Gossip(event) => {
                self.metrics.record(&event);
                self.on_gossip_event(event);
            }
            BehaviourEvent::Identify(event) => {
                self.metrics.record(&event);
                self.on_identify_event(event);
            }
            BehaviourEvent::Kad(event) => {
                self.metrics.record(&event);
                self.on_kad_event(event);
            }
            BehaviourEvent::Mdns(event) => self.on_mdns_event(event),
            BehaviourEvent::Ping(event) => {
                self.metrics.record(&event);
                if let (Ok(time), Some(peer)) = (event.result, self.peers.get_mut(&event.peer)) {
                    peer.ping_ms = Some(time.as_millis() as u64);
                }
            }
            BehaviourEvent::Gate(never)
            | BehaviourEvent::Limits(never)
            | BehaviourEvent::Memory(never) => match never {},
            BehaviourEvent::Stream(()) => {}
        }
    }

    fn on_tick(&mut self) {
        let now_ms = self.clock.now_ms();
        self.end_late_handshakes(now_ms);
        self.end_late_requests(now_ms);
        self.send_due_statuses();
        self.refresh_gate(now_ms);
        if now_ms >= self.next_dial_ms {
            self.fill_slots(now_ms);
        }
        if now_ms >= self.next_walk_ms {
            self.walk(now_ms);
        }
        if now_ms >= self.next_save_ms {
            self.save_in_background(now_ms);
        }
        self.publish_peers();
    }

    /// Sends an event that must not be lost.
    pub(super) fn tell(&mut self, event: NetworkEvent) {
        self.backlog.push_back(event);
        self.flush_backlog();
    }

    /// Sends an event that may be lost under load. Gives it back if there is no room.
    pub(super) fn offer(&mut self, event: NetworkEvent) -> Result<(), Box<NetworkEvent>> {
        if !self.backlog.is_empty() || self.events.capacity() <= EVENTS_RESERVED {
            return Err(Box::new(event));
        }
        self.events
            .try_send(event)
            .map_err(|error| Box::new(error.into_inner()))
    }

    fn flush_backlog(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            if let Err(error) = self.events.try_send(event) {
                if let mpsc::error::TrySendError::Full(event) = error {
                    self.backlog.push_front(event);
                }
                return;
            }
        }
    }

    /// Writes the list of ready peers for [`crate::NetworkHandle::peers`].
    pub(super) fn publish_peers(&self) {
        let now_ms = self.clock.now_ms();
        let mut list = Vec::new();
        let (mut inbound, mut outbound) = (0, 0);
        for (id, peer) in &self.peers {
            let (Stage::Ready, Some(status)) = (peer.stage, &peer.status) else {
                continue;
            };
            match peer.direction {
                Direction::Inbound => inbound += 1,
                Direction::Outbound => outbound += 1,
            }
            list.push(PeerInfo {
                peer: *id,
                direction: peer.direction,
                address: peer.address(),
                agent: peer.agent.clone(),
                status: *status,
                score: self.scores.score(now_ms, id),
                since_ms: peer.ready_ms,
                ping_ms: peer.ping_ms,
            });
        }
        self.counters.set_peers(inbound, outbound);
        *self.shared.peers.write().expect("no reader panics") = list;
    }

    async fn part_from_all(&mut self) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in ids {
            self.part(peer, super::parting::Parting::shutdown());
        }
        let deadline = tokio::time::sleep(SHUTDOWN);
        tokio::pin!(deadline);
        while !self.peers.is_empty() {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                () = &mut deadline => return,
            }
        }
    }
}
