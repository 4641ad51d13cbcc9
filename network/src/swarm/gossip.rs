//! How gossipsub is set up: anonymous, content-addressed, judged before it is forwarded.
//!
//! Invariant: the message id depends on topic and content only, so one message is one message
//! however often it is sent; nothing is forwarded without a verdict. The numbers come from
//! measurements and from what other networks run with. Source: `spec/07-p2p.md#gossip`.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use libp2p::{
    gossipsub::{
        Behaviour, ConfigBuilder, IdentTopic, IdentityTransform, MaxCountSubscriptionFilter,
        Message, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
        TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
    },
    metrics::Registry,
};

use crate::{
    error::NetworkError,
    limits::GOSSIP_HEADROOM_BYTES,
    names::{Names, Topic, message_id},
};

/// gossipsub with our subscription filter.
pub type Gossip =
    Behaviour<IdentityTransform, MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>>;

/// An honest node subscribes to each of our topics once; a reconnect repeats them.
const SUBSCRIPTIONS_PER_REQUEST_MAX: usize = 2 * Topic::ALL.len();
/// Messages queued towards one peer: 512 cut delivery latency to a third for 20 % of throughput.
const SEND_QUEUE_MAX: usize = 512;
/// Messages are remembered for twice the longest block interval that is usual, at least 120 s.
const DUPLICATE_CACHE: Duration = Duration::from_secs(120);
/// Our own score counts this much in gossipsub's: -100 reaches the gossip threshold.
const APPLICATION_WEIGHT: f64 = 40.0;

/// Builds the behaviour and subscribes to all topics.
pub fn build(
    names: &Names,
    private_exempt: bool,
    registry: &mut Registry,
) -> Result<Gossip, NetworkError> {
    let topics: Vec<_> = Topic::ALL
        .iter()
        .map(|topic| ident(names, *topic))
        .collect();
    let payload_max = Topic::ALL
        .iter()
        .map(|topic| topic.bytes_max())
        .max()
        .unwrap_or(0);
    let mut config = ConfigBuilder::default();
    config
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(content_id)
        .max_transmit_size(payload_max + GOSSIP_HEADROOM_BYTES)
        .duplicate_cache_time(DUPLICATE_CACHE)
        .heartbeat_interval(Duration::from_millis(700))
        .mesh_n(8)
        .mesh_n_low(6)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        .gossip_lazy(6)
        .history_length(8)
        .history_gossip(3)
        .flood_publish(false)
        .idontwant_on_publish(true)
        .connection_handler_queue_len(SEND_QUEUE_MAX);
    let transactions = ident(names, Topic::Transactions).hash();
    config
        .mesh_n_for_topic(6, transactions.clone())
        .mesh_n_low_for_topic(4, transactions.clone())
        .mesh_n_high_for_topic(12, transactions.clone())
        .mesh_outbound_min_for_topic(2, transactions);
    for (topic, ident) in Topic::ALL.iter().zip(&topics) {
        let bytes_max = topic.bytes_max() + GOSSIP_HEADROOM_BYTES;
        config.max_transmit_size_for_topic(bytes_max, ident.hash());
    }
    let config = config
        .build()
        .map_err(|error| NetworkError::Gossip(error.to_string()))?;

    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(topics.iter().map(IdentTopic::hash).collect()),
        max_subscribed_topics: Topic::ALL.len(),
        max_subscriptions_per_request: SUBSCRIPTIONS_PER_REQUEST_MAX,
    };
    let failed = |reason: &str| NetworkError::Gossip(reason.into());
    let mut gossip =
        Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
            .map_err(failed)?
            .with_metrics(
                registry.sub_registry_with_prefix("libp2p_gossipsub_router"),
                Default::default(),
            );
    gossip
        .with_peer_score(score_params(&topics, private_exempt), score_thresholds())
        .map_err(|error| failed(&error))?;
    for topic in &topics {
        gossip
            .subscribe(topic)
            .map_err(|error| failed(&error.to_string()))?;
    }
    Ok(gossip)
}

/// The topic as gossipsub names it.
pub fn ident(names: &Names, topic: Topic) -> IdentTopic {
    IdentTopic::new(topic.of(names))
}

fn content_id(message: &Message) -> MessageId {
    MessageId::from(message_id(message.topic.as_str(), &message.data).to_vec())
}

/// P3 and P3b stay off until their thresholds are measured; P4 reaches the graylist after some
/// five rejected messages within a minute.
fn score_params(topics: &[IdentTopic], private_exempt: bool) -> PeerScoreParams {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.033,
        time_in_mesh_quantum: Duration::from_secs(12),
        time_in_mesh_cap: 300.0,
        first_message_deliveries_weight: 1.0,
        first_message_deliveries_decay: 0.9,
        first_message_deliveries_cap: 30.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -700.0,
        invalid_message_deliveries_decay: 0.97,
        ..TopicScoreParams::default()
    };
    let loopback = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    PeerScoreParams {
        topics: topics
            .iter()
            .map(|name| (name.hash(), topic.clone()))
            .collect::<HashMap<_, _>>(),
        topic_score_cap: 60.0,
        app_specific_weight: APPLICATION_WEIGHT,
        ip_colocation_factor_weight: if private_exempt { 0.0 } else { -60.0 },
        ip_colocation_factor_threshold: 8.0,
        ip_colocation_factor_whitelist: loopback
            .into_iter()
            .filter(|_| private_exempt)
            .collect::<HashSet<_>>(),
        behaviour_penalty_weight: -16.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: 0.928,
        ..PeerScoreParams::default()
    }
}

fn score_thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -4_000.0,
        publish_threshold: -8_000.0,
        graylist_threshold: -16_000.0,
        accept_px_threshold: 100.0,
        opportunistic_graft_threshold: 5.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_accepted() {
        let mut registry = Registry::default();
        let gossip = build(
            &Names::new(&cairn_protocol::hash::BlockId([7; 32])),
            false,
            &mut registry,
        )
        .unwrap();
        assert_eq!(gossip.topics().count(), Topic::ALL.len());
    }

    #[test]
    fn five_rejected_messages_within_seconds_reach_the_graylist() {
        let topics = [IdentTopic::new("t")];
        let params = score_params(&topics, false);
        let topic = &params.topics[&topics[0].hash()];
        let penalty = |count: f64| {
            topic.topic_weight * topic.invalid_message_deliveries_weight * count * count
        };
        let graylist = score_thresholds().graylist_threshold;
        let best = params.topic_score_cap;
        assert!(penalty(4.0) + best > graylist);
        assert!(penalty(5.0) + best < graylist);
    }
}
