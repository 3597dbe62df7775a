use std::hint::black_box;

use criterion::Criterion;
use pointsman_layers::condition::Condition;
use serde_json::json;

use crate::harness::bench;

/// The conditions of `tests/data/example.yaml`, and longer ones.
const CONDITIONS: [&str; 5] = [
    "balance > 0 or error_count < 3",
    "quota.credits.remaining > 0 or error_count < 3",
    "error_count < 3",
    "balance > 0 and error_count < 3 and quota.credits.remaining >= 10",
    "not (quota.models[\"gpt-4.1\"].left <= 0.05 or balance == 0) and error_count != 7",
];

pub(crate) fn benches(criterion: &mut Criterion) {
    let quota = json!({
        "balance": 12.5,
        "credits": {"remaining": 4200, "total": "5000"},
        "models": {"gpt-4.1": {"left": 0.5}},
    });
    for text in CONDITIONS {
        let condition: Condition = text.parse().expect("a condition");
        // With five errors counted, no term can be left out.
        bench(
            criterion,
            &format!("condition/{text}"),
            || (),
            |()| condition.evaluate(black_box(&quota), black_box(5)).expect("numbers"),
        );
    }
    bench(
        criterion,
        "condition/parse",
        || (),
        |()| black_box(CONDITIONS[0]).parse::<Condition>().expect("a condition"),
    );
}
