//! The router against a model of it that is too plain to be wrong.

use proptest::prelude::*;

use super::*;
use crate::ext::FailureKind;

/// Steps of a clock coarse enough that the runtime's rounding to a millisecond does not matter.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Limits {
    max_attempts: usize,
    /// In half ticks and odd, so that nothing ends at the very moment at which the time is over.
    half_ticks: u32,
    fallback_on_ambiguous: bool,
}

/// What a client and its trail should see.
#[derive(Debug, PartialEq)]
struct Expected {
    outcomes: Vec<String>,
    answered: Option<usize>,
    status: u16,
}

fn expected(acts: &[(u32, Act)], limits: &Limits) -> Expected {
    let mut outcomes = Vec::new();
    let (mut sent, mut half_ticks) = (0, 0);
    let (mut last_answer, mut last_failure, mut out_of_time) = (None, None, false);
    for (index, (delay, act)) in acts.iter().enumerate() {
        if sent == limits.max_attempts {
            break;
        }
        half_ticks += 2 * delay;
        if half_ticks > limits.half_ticks || matches!(act, Act::Hang) {
            outcomes.push("Timeout".to_owned());
            if !limits.fallback_on_ambiguous {
                last_answer = None;
            }
            out_of_time = true;
            break;
        }
        sent += usize::from(!matches!(act, Act::Skip(_)));
        match act {
            Act::Skip(_) => outcomes.push("Skipped".to_owned()),
            Act::Answer(code) if (400..600).contains(code) && ![400, 422].contains(code) => {
                outcomes.push("Refused".to_owned());
                last_answer = Some((index, *code));
            }
            Act::Answer(code) => {
                outcomes.push("Answered".to_owned());
                return Expected { outcomes, answered: Some(index), status: *code };
            }
            Act::Early(code, failure) => {
                outcomes.push("FailedEarly".to_owned());
                last_answer = Some((index, *code));
                if failure.ambiguous && !limits.fallback_on_ambiguous {
                    break;
                }
            }
            Act::Fail(failure) => {
                outcomes.push("Failed".to_owned());
                last_failure = Some(failure.kind);
                if failure.ambiguous && !limits.fallback_on_ambiguous {
                    last_answer = None;
                    break;
                }
            }
            Act::Hang => unreachable!(),
        }
    }
    let status = match (last_answer, last_failure) {
        (Some((_, code)), _) => code,
        _ if out_of_time => 504,
        (None, Some(FailureKind::Timeout)) => 504,
        (None, Some(_)) => 502,
        (None, None) => 503,
    };
    Expected { outcomes, answered: last_answer.map(|(index, _)| index), status }
}

/// The name of an outcome; that of the router's own timeout by its text.
fn named(outcome: &crate::ext::Outcome) -> String {
    let text = format!("{outcome:?}");
    if text.contains("the whole request") {
        return "Timeout".to_owned();
    }
    text.split('(').next().unwrap().to_owned()
}

fn act() -> impl Strategy<Value = Act> {
    let failure = || {
        prop_oneof![
            Just(Failure::UNREACHABLE),
            Just(Failure::TIMEOUT),
            Just(Failure::BROKEN),
            Just(Failure { kind: FailureKind::ErrorEvent, ambiguous: false }),
        ]
    };
    let refused = prop::sample::select(vec![401_u16, 404, 429, 500, 503]);
    prop_oneof![
        4 => prop::option::of(0..100_u64).prop_map(Act::Skip),
        4 => refused.clone().prop_map(Act::Answer),
        2 => (refused, failure()).prop_map(|(code, failure)| Act::Early(code, failure)),
        4 => failure().prop_map(Act::Fail),
        2 => prop::sample::select(vec![200_u16, 204, 400, 422]).prop_map(Act::Answer),
        1 => Just(Act::Hang),
    ]
}

proptest! {
    #[test]
    fn the_router_does_what_the_model_says(
        acts in prop::collection::vec((0..3_u32, act()), 0..8),
        max_attempts in prop_oneof![0..6_usize, Just(usize::MAX)],
        half_ticks in (0..12_u32).prop_map(|n| 2 * n + 1),
        fallback_on_ambiguous in any::<bool>(),
    ) {
        let limits = Limits { max_attempts, half_ticks, fallback_on_ambiguous };
        let route = route(acts.len())
            .max_attempts(max_attempts)
            .total_timeout(TICK * half_ticks / 2)
            .fallback_on_ambiguous(fallback_on_ambiguous);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let timed = acts.iter().map(|(delay, act)| (TICK * *delay, act.clone())).collect();
        let ran = runtime.block_on(run_timed(route, timed));

        let got = Expected {
            outcomes: ran.trail().attempts().iter().map(|attempt| named(&attempt.outcome)).collect(),
            answered: ran.answered().map(|provider| provider.parse().unwrap()),
            status: ran.response.status().as_u16(),
        };
        prop_assert_eq!(&got, &expected(&acts, &limits));
        // Every candidate that is called is in the trail, and no other.
        prop_assert_eq!(ran.called().len(), got.outcomes.len());
        prop_assert!(ran.trail().sent() <= max_attempts);
        prop_assert_eq!(
            ran.trail().sent(),
            got.outcomes.iter().filter(|outcome| *outcome != "Skipped").count()
        );
    }
}
