//! The vectors of `spec/09-bft.md` against the rules: each valid case passes, each other one breaks
//! exactly the rule that it names.

use cairn_protocol::bft::{
    Body, Evidence, LeaderRule, Message, OffenceKind, Scope, Seal, SetRule, Statement,
    ValidatorSet, check_key, is_quorum, is_weak_quorum, verify_messages, verify_seal,
};
use cairn_protocol::codec::{decode, encode};
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::signature::{Ed25519, PublicKey, Signature, SignatureJob, verify_single};
use cairn_protocol::state::Validator;
use serde_json::Value;
use std::path::Path;

fn file(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../spec/vectors")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().expect("a list")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    let found = value[key].as_str();
    found.unwrap_or_else(|| panic!("{key} is no text in {value}"))
}

fn number(value: &Value, key: &str) -> u64 {
    text(value, key).parse().unwrap()
}

fn bytes(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(value, key)).unwrap()
}

fn array<const N: usize>(value: &Value, key: &str) -> [u8; N] {
    bytes(value, key).try_into().unwrap()
}

fn validators(value: &Value) -> Vec<Validator> {
    let validator = |line: &Value| {
        let (key, power) = line.as_str().unwrap().split_once(' ').unwrap();
        Validator {
            key: PublicKey(hex::decode(key).unwrap().try_into().unwrap()),
            power: power.parse().unwrap(),
        }
    };
    list(value, "validators").iter().map(validator).collect()
}

fn set(value: &Value, rule: &str) -> Result<ValidatorSet, &'static str> {
    let rule = SetRule::try_from(value[rule].as_u64().unwrap() as u8).unwrap();
    ValidatorSet::new(rule, validators(value)).map_err(|violation| violation.id())
}

fn scope(value: &Value) -> Scope {
    Scope {
        chain_id: BlockId(array(value, "chain_id")),
        ruleset_id: Hash(array(value, "ruleset_id")),
        instance: number(value, "instance"),
    }
}

/// Compares a verdict with a case's; says how many cases broke a rule.
fn judge(case: &Value, found: Result<(), &'static str>) -> usize {
    let (rule, valid) = (text(case, "rule"), case["valid"].as_bool().unwrap());
    let expected = if valid { Ok(()) } else { Err(rule) };
    assert_eq!(found, expected, "{}", text(case, "name"));
    usize::from(!valid)
}

#[test]
fn sets() {
    let file = file("bft_sets.json");
    let mut broken = 0;
    for case in list(&file, "cases") {
        let outcome = if text(case, "kind") == "key" {
            check_key(&PublicKey(array(case, "key"))).map_err(|violation| violation.id())
        } else {
            set(case, "set_rule").map(|set| {
                assert_eq!(set.hash().to_hex(), text(case, "set_hash"));
                assert_eq!(set.total(), number(case, "total"));
            })
        };
        broken += judge(case, outcome);
    }
    assert!(broken >= 20, "{broken} cases break a rule");
    for case in list(&file, "quorums") {
        let (power, total) = (number(case, "power"), number(case, "total"));
        assert_eq!(is_quorum(power, total), case["quorum"], "{case}");
        assert_eq!(is_weak_quorum(power, total), case["weak_quorum"], "{case}");
    }
    assert!(list(&file, "quorums").len() >= 40);
}

#[test]
fn leaders() {
    let file = file("bft_leaders.json");
    for case in list(&file, "cases") {
        let powers = list(case, "powers").iter().zip(0u8..);
        let validators = powers.map(|(power, i)| Validator {
            key: PublicKey([i; 32]),
            power: power.as_str().unwrap().parse().unwrap(),
        });
        let set = ValidatorSet::new(SetRule::Pos, validators.collect()).unwrap();
        let (instance, round) = (
            number(case, "instance"),
            case["round"].as_u64().unwrap() as u32,
        );
        let seed = Hash(array(case, "seed"));
        let rotation = LeaderRule::Rotation.leader(&set, instance, round);
        let drawn = LeaderRule::Draw { seed }.leader(&set, instance, round);
        assert_eq!(
            (rotation, drawn),
            (
                case["rotation"].as_u64().unwrap() as u16,
                case["draw"].as_u64().unwrap() as u16,
            ),
            "{case}"
        );
    }
    assert!(list(&file, "cases").len() >= 60);
}

#[test]
fn statements() {
    let file = file("bft_statements.json");
    for case in list(&file, "cases") {
        let statement: Statement = decode(&bytes(case, "statement"), 1_000).unwrap();
        let scope = scope(case);
        assert_eq!(statement.sign_bytes(&scope), bytes(case, "sign_bytes"));
        let job = SignatureJob {
            key: PublicKey(array(case, "key")),
            signature: Signature(array(case, "signature")),
            message: statement.message(&scope),
        };
        assert_eq!(job.message, array(case, "message"));
        assert!(verify_single(&job), "{case}");
        assert_eq!(statement.check(), Ok(()));
    }
    assert!(list(&file, "cases").len() >= 40);
}

/// Judges the messages of a file one by one and in one batch; both give one verdict.
fn check_messages(name: &str) -> usize {
    let file = file(name);
    let (scope, set) = (scope(&file["scope"]), set(&file["set"], "rule").unwrap());
    assert_eq!(set.hash().to_hex(), text(&file["set"], "set_hash"));
    let mut broken = 0;
    let mut messages = Vec::new();
    let mut verdicts = Vec::new();
    for case in list(&file, "cases") {
        let bytes = bytes(case, "message");
        let message = Message::from_bytes(&bytes).unwrap();
        assert_eq!(message.to_bytes(), bytes);
        if let Body::NewView {
            round,
            id,
            justification,
        } = &message.body
        {
            let hash = justification.hash(*round, *id).to_hex();
            assert_eq!(hash, text(case, "justification_hash"));
        }
        let verdict = message.clone().verify(&scope, &set, &Ed25519);
        let refused = matches!(&verdict, Err(violation) if violation.is_refusal());
        assert_eq!(refused, text(case, "rule") == "MSG-01" && verdict.is_err());
        broken += judge(case, verdict.clone().map(|_| ()).map_err(|v| v.id()));
        messages.push(message);
        verdicts.push(verdict);
    }
    assert_eq!(
        verify_messages(messages.clone(), &scope, &set, &Ed25519),
        verdicts
    );
    // And a batch of valid ones only, which takes the short way.
    let valid: Vec<_> = messages
        .into_iter()
        .zip(&verdicts)
        .filter_map(|(message, verdict)| verdict.is_ok().then_some(message))
        .collect();
    assert!(
        verify_messages(valid, &scope, &set, &Ed25519)
            .iter()
            .all(Result::is_ok)
    );
    broken
}

#[test]
fn messages() {
    let broken = check_messages("bft_messages.json");
    assert!(broken >= 50, "{broken} cases break a rule");
}

/// C05: what hides a prepared value, or shows a lower one, is refused by whoever receives it.
#[test]
fn new_views() {
    let broken = check_messages("bft_new_views.json");
    assert!(broken >= 30, "{broken} cases break a rule");
}

#[test]
fn seals() {
    let file = file("bft_seals.json");
    let mut broken = 0;
    for case in list(&file, "cases") {
        let (scope, set) = (scope(&case["scope"]), set(&case["set"], "rule").unwrap());
        let bytes = bytes(case, "seal");
        let seal = Seal::from_bytes(&bytes).unwrap();
        assert_eq!(seal.to_bytes().as_slice(), bytes);
        let id = BlockId(array(case, "id"));
        let verdict = verify_seal(&seal, &scope, id, &set, &Ed25519);
        if let Ok(power) = verdict {
            assert_eq!(power, number(case, "power"));
        }
        broken += judge(
            case,
            verdict.map(|_| ()).map_err(|violation| violation.id()),
        );
    }
    assert!(broken >= 30, "{broken} cases break a rule");
}

#[test]
fn evidence() {
    let file = file("bft_evidence.json");
    let chain_id = BlockId(array(&file, "chain_id"));
    let mut broken = 0;
    for case in list(&file, "cases") {
        let bytes = bytes(case, "evidence");
        let evidence = Evidence::from_bytes(&bytes).unwrap();
        assert_eq!(encode(&evidence), bytes);
        let verdict = evidence.verify(chain_id, &Ed25519);
        if let Ok(proven) = verdict {
            let kind = match text(case, "offence") {
                "DoubleVote" => OffenceKind::DoubleVote,
                "DoubleProposal" => OffenceKind::DoubleProposal,
                "Amnesia" => OffenceKind::Amnesia,
                other => panic!("unknown offence {other}"),
            };
            assert_eq!(proven.kind, kind);
            assert_eq!(u64::from(proven.round), case["round"].as_u64().unwrap());
            assert_eq!(proven.instance, evidence.instance);
        }
        broken += judge(
            case,
            verdict.map(|_| ()).map_err(|violation| violation.id()),
        );
    }
    assert!(broken >= 30, "{broken} cases break a rule");
}
