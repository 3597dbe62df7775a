//! A body that comes in segments is read as it would be in one piece.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::*;

use crate::{body::ReplayBody, route::ModelField};

fn cut(body: &str, cuts: &[prop::sample::Index]) -> ReplayBody {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
    places.extend([0, body.len()]);
    places.sort_unstable();
    let whole = Bytes::copy_from_slice(body.as_bytes());
    places.windows(2).map(|pair| whole.slice(pair[0]..pair[1])).collect()
}

/// A field, or what looks like one.
fn field() -> impl Strategy<Value = String> {
    let text = prop::sample::select(vec![
        r#""model":"fast""#,
        r#""model":"fast""#,
        r#""model" : "f\u0061st" "#,
        r#""model":12"#,
        r#""model":{"model":"deep"}"#,
        r#""m\u006fdel":"hidden""#,
        r#""stream":true"#,
        r#""x":"model""#,
        r#""x":"the \"model\" of \u00e9""#,
        r#""x":["#,
        r#""x":NaN"#,
        "",
    ]);
    prop_oneof![
        1 => text.prop_map(str::to_owned),
        1 => (1..700usize).prop_map(|length| format!(r#""messages":"{}""#, "word ".repeat(length / 5))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn segments_are_read_as_the_whole_is(
        fields in prop::collection::vec(field(), 0..6),
        ends in prop::sample::select(vec![("{", "}"), (" \n{", "} \n"), ("{", ""), ("[", "]"), ("", "")]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..5),
    ) {
        let body = format!("{}{}{}", ends.0, fields.join(","), ends.1);
        let segments = cut(&body, &cuts);
        let expected = ModelField::find(body.as_bytes());
        prop_assert_eq!(ModelField::of_body(&HeaderMap::new(), &segments), expected);
    }

    /// Every cut near the model itself.
    #[test]
    fn a_model_across_a_seam_is_found(before in 0..700usize, behind in 0..700usize, at in 0..40usize) {
        let text = |length| "y".repeat(length);
        let body = format!(r#"{{"x":"{}","model":"fast","z":"{}"}}"#, text(before), text(behind));
        let (first, second) = body.split_at((before + at).min(body.len()));
        let segments: ReplayBody = [first, second].map(|half| Bytes::copy_from_slice(half.as_bytes())).into_iter().collect();
        prop_assert_eq!(ModelField::of_body(&HeaderMap::new(), &segments), ModelField::find(body.as_bytes()));
    }
}

#[test]
fn a_body_whose_model_is_in_its_first_or_last_segment_is_not_put_together() {
    let long = "word ".repeat(200);
    let fields = [format!(r#""messages":["{long}","#), format!(r#""{long}"]"#)];
    for segments in [
        [format!(r#"{{"model":"fast",{}"#, fields[0]), format!("{}}}", fields[1])],
        [format!("{{{}", fields[0]), format!(r#"{},"model":"fast"}}"#, fields[1])],
    ] {
        let body = segments.map(Bytes::from).into_iter().collect();
        let model = ModelField::of_body(&HeaderMap::new(), &body).expect("a model");
        assert!(matches!(model.name, Cow::Borrowed("fast")), "{model:?}");
        assert_eq!(&body.to_bytes()[model.span], b"\"fast\"");
    }
}

#[test]
fn a_form_in_segments_is_read_as_a_whole() {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "multipart/form-data; boundary=b".parse().expect("a value"));
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nfast\r\n--b--\r\n";
    let body: ReplayBody = form.as_bytes().chunks(7).map(Bytes::copy_from_slice).collect();
    let model = ModelField::of_body(&headers, &body).expect("a model");
    assert_eq!((&*model.name, &form[model.span]), ("fast", "fast"));
}
