//! The order of keys is the order of values.

use super::*;
use crate::types::{Interval, Json, Numeric};
use proptest::prelude::*;
use std::cmp::Ordering;

/// A pair of values of one type, often close to each other.
fn pairs() -> impl Strategy<Value = (Value, Value)> {
    fn two<T: Clone + std::fmt::Debug, S: Strategy<Value = T> + Clone>(
        one: S,
    ) -> impl Strategy<Value = (T, T)> {
        (one.clone(), one)
    }
    let small = prop_oneof![-3i64..4, any::<i64>(), Just(i64::MIN), Just(i64::MAX)];
    let float = prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(-f64::NAN),
        Just(0.0),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        -2.0..2.0f64,
    ];
    let text = prop_oneof!["[a-c]{0,4}", "\\PC{0,6}", "[\u{1}\u{2}z]{0,3} {0,2}"];
    let blob = prop::collection::vec(
        prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()],
        0..5,
    );
    let decimal = prop_oneof![
        "-?[0-9]{1,3}(\\.[0-9]{1,3})?",
        "-?[0-9]{1,30}(\\.[0-9]{1,20})?",
        "-?[1-9]e-?[0-9]{1,3}",
        Just("NaN".to_owned()),
        Just("Infinity".to_owned()),
        Just("-Infinity".to_owned()),
        Just("0.000".to_owned()),
    ];
    let decimal = decimal.prop_map(|text| text.parse::<Numeric>().unwrap());
    let interval = (-2..3i32, -40..40i32, prop_oneof![-5..5i64, any::<i64>()]);
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Boolean),
        decimal.clone().prop_map(Json::Number),
        "[a-b]{0,2}".prop_map(Json::String),
    ];
    let json = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::Array),
            prop::collection::vec(("[a-b]{0,2}", inner), 0..3).prop_map(Json::object),
        ]
    });
    prop_oneof![
        two(any::<bool>()).prop_map(|(a, b)| (Value::Boolean(a), Value::Boolean(b))),
        two(small.clone()).prop_map(|(a, b)| (Value::BigInt(a), Value::BigInt(b))),
        two(any::<i32>()).prop_map(|(a, b)| (Value::Integer(a), Value::BigInt(b.into()))),
        two(float.clone()).prop_map(|(a, b)| (Value::Double(a), Value::Double(b))),
        two(float).prop_map(|(a, b)| (Value::Real(a as f32), Value::Real(b as f32))),
        two(text.clone()).prop_map(|(a, b)| (Value::Text(a), Value::Text(b))),
        two(text).prop_map(|(a, b)| (Value::Char(a), Value::Char(b))),
        two(blob).prop_map(|(a, b)| (Value::Bytea(a), Value::Bytea(b))),
        two(decimal).prop_map(|(a, b)| (Value::Numeric(a), Value::Numeric(b))),
        two(small).prop_map(|(a, b)| (Value::Timestamp(a), Value::Timestamp(b))),
        two(interval).prop_map(|(a, b)| (interval_of(a), interval_of(b))),
        two(json).prop_map(|(a, b)| (Value::Jsonb(a), Value::Jsonb(b))),
        two(any::<[u8; 16]>()).prop_map(|(a, b)| (Value::Uuid(a), Value::Uuid(b))),
    ]
}

fn interval_of((months, days, microseconds): (i32, i32, i64)) -> Value {
    Value::Interval(Interval {
        months,
        days,
        microseconds,
    })
}

fn maybe_null() -> impl Strategy<Value = (Value, Value)> {
    (pairs(), 0..8u8).prop_map(|((a, b), nulls)| match nulls {
        0 => (Value::Null, b),
        1 => (a, Value::Null),
        2 => (Value::Null, Value::Null),
        _ => (a, b),
    })
}

fn directions() -> impl Strategy<Value = Direction> {
    (any::<bool>(), any::<bool>()).prop_map(|(descending, nulls_first)| Direction {
        descending,
        nulls_first,
    })
}

fn expected(a: &Value, b: &Value, direction: Direction) -> Ordering {
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) if direction.nulls_first => Ordering::Less,
        (true, false) => Ordering::Greater,
        (false, true) if direction.nulls_first => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let order = a.compare(b).expect("values of one type");
            if direction.descending {
                order.reverse()
            } else {
                order
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn keys_sort_as_values(
        columns in prop::collection::vec((maybe_null(), directions()), 1..4)
    ) {
        let directions: Vec<Direction> = columns.iter().map(|column| column.1).collect();
        let left = encode(columns.iter().map(|((a, _), _)| a), &directions).unwrap();
        let right = encode(columns.iter().map(|((_, b), _)| b), &directions).unwrap();
        let order = columns
            .iter()
            .map(|((a, b), direction)| expected(a, b, *direction))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal);
        prop_assert_eq!(left.cmp(&right), order);
        // No key is a prefix of another, so bytes behind it change no order.
        prop_assert!(order.is_eq() || !(left.starts_with(&right) || right.starts_with(&left)));
    }
}

#[test]
fn json_has_no_key_and_keys_have_a_limit() {
    let ascending = [Direction::ASCENDING];
    let json = encode([&Value::Json("1".into())], &ascending);
    assert_eq!(json, Err(KeyError::NoOrder("json")));
    let fits = Value::Text("x".repeat(KEY_BYTES_MAX - 3));
    assert_eq!(encode([&fits], &ascending).unwrap().len(), KEY_BYTES_MAX);
    let long = Value::Text("x".repeat(KEY_BYTES_MAX - 2));
    let bytes = KEY_BYTES_MAX + 1;
    assert_eq!(
        encode([&long], &ascending),
        Err(KeyError::TooLong { bytes })
    );
}

#[test]
fn after_a_prefix_comes_the_next_one() {
    assert_eq!(after_prefix(&[1, 2]), Some(vec![1, 3]));
    assert_eq!(after_prefix(&[1, 0xff]), Some(vec![2]));
    assert_eq!(after_prefix(&[0xff]), None);
    assert_eq!(after_prefix(&[]), None);
}
