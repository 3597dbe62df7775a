//! Model strings: what a client may say in the `model` field beyond a name.

mod support;

use pointsman::{Config, Gateway, config::Overrides};
use serde_json::{Value, json};
use support::{Answer, Deployed, Refusing, Reply, Served, Upstream, backend, backends, post_json};

/// Providers that answer every request, one upstream each.
struct Providers {
    up: Vec<(&'static str, Upstream)>,
    gateway: Deployed,
}

impl Providers {
    /// Backends `a`, `b` and `c.one` that work; `more` goes before them in the configuration.
    fn start(more: &str) -> Self {
        Self::with(more, [("a", ""), ("b", ""), ("c.one", "")])
    }

    fn with<const N: usize>(more: &str, names: [(&'static str, &str); N]) -> Self {
        let up: Vec<_> = names.iter().map(|(name, _)| (*name, Upstream::always(Reply::chat(name)))).collect();
        let entries = up.iter().zip(names).map(|((name, up), (_, more))| backend(name, &up.url(""), more));
        let gateway = Deployed::start(&format!("{more}\n{}", backends(entries)));
        Self { up, gateway }
    }

    /// Sends a chat completion with this model string; returns who was asked, and with what.
    async fn sent(&self, model: &str) -> (&'static str, Value) {
        let answer = self.gateway.chat(model).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let asked: Vec<_> = self
            .up
            .iter()
            .flat_map(|(name, up)| up.requests().into_iter().map(|request| (*name, request.json())))
            .collect();
        let [one] = &asked[..] else { panic!("{model}: {asked:?}") };
        assert_eq!(answer.header("x-pointsman-provider"), Some(one.0));
        assert_eq!(answer.header("x-pointsman-model"), one.1["model"].as_str());
        one.clone()
    }
}

async fn sent(more: &str, model: &str) -> (&'static str, Value) {
    Providers::start(more).sent(model).await
}

async fn refused(gateway: &Deployed, model: &str) -> (u16, Value) {
    let answer = gateway.chat(model).await;
    (answer.status, answer.json()["error"].clone())
}

#[tokio::test]
async fn a_backend_before_the_colon_is_asked_for_the_model_behind_it() {
    for (text, provider, model) in [
        ("a:m", "a", "m"),
        ("b:llama3:8b", "b", "llama3:8b"),
        ("b:meta/llama:free", "b", "meta/llama:free"),
        ("c.one:m", "c.one", "m"),
        ("b.default:m", "b", "m"),
        (" a:m ", "a", "m"),
        // None of these names a configured backend.
        ("llama3:8b", "a", "llama3:8b"),
        ("anthropic/claude-3-haiku:beta", "a", "anthropic/claude-3-haiku:beta"),
        ("b/m:x", "a", "b/m:x"),
        ("gpt-4.1:x", "a", "gpt-4.1:x"),
    ] {
        let (asked, body) = sent("default_backend: a", text).await;
        assert_eq!((asked, &body["model"]), (provider, &json!(model)), "{text}");
    }
}

#[tokio::test]
async fn names_are_looked_up_in_their_order() {
    let routes = "models: [{ name: 'b:m', providers: [{ provider: a, model: routed }] }, { name: listed, providers: [{ provider: a }] }]";
    let listing = [("a", ""), ("b", "models: [listed, 'a:x', only-b]")];
    for (text, provider, model) in [
        // A route goes before a backend that is named, that before one that lists the model.
        ("b:m", "a", "routed"),
        ("listed", "a", "listed"),
        ("a:x", "a", "x"),
        ("only-b", "b", "only-b"),
    ] {
        let (asked, body) = Providers::with(routes, listing).sent(text).await;
        assert_eq!((asked, &body["model"]), (provider, &json!(model)), "{text}");
    }
    let gateway = Providers::with(routes, listing).gateway;
    let (status, error) = refused(&gateway, "listde").await;
    assert_eq!((status, &error["code"]), (404, &json!("model_not_found")));
    assert!(error["message"].as_str().unwrap().contains("did you mean `listed`"), "{error}");
}

#[tokio::test]
async fn an_instance_that_does_not_exist_is_an_error() {
    let gateway = Providers::start("default_backend: a").gateway;
    for text in ["c.two:m", "a.b:m"] {
        let (status, error) = refused(&gateway, text).await;
        assert_eq!((status, &error["code"]), (400, &json!("invalid_model_selector")), "{text}: {error}");
    }
    assert!(refused(&gateway, "c.onne:m").await.1["message"].as_str().unwrap().contains("did you mean `c.one`"));
}

#[tokio::test]
async fn parameters_are_put_into_the_body_and_the_rest_stays_byte_for_byte() {
    let providers = Providers::start("");
    let body = r#" {"stop" : ["?"], "temperature": 1,"model" :"a:m?temperature=0.7&max_tokens=64" , "metadata":{"temperature":9},"n":1e0,"n":1e400,"messages":[]} "#;
    let mut client = providers.gateway.client().await;
    client
        .send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert_eq!(client.head().await.status(), 200);
    let received = providers.up[0].1.request();
    assert_eq!(
        std::str::from_utf8(&received.body).unwrap(),
        r#" {"stop" : ["?"], "temperature": 0.7,"model" :"m","max_tokens":64 , "metadata":{"temperature":9},"n":1e0,"n":1e400,"messages":[]} "#,
    );
    assert_eq!(received.header("content-length"), Some(received.body.len().to_string().as_str()));
}

#[tokio::test]
async fn forced_goes_before_the_model_string_that_before_the_body_that_before_the_default() {
    let params =
        "forced_params: { top_k: 1 }, default_params: { seed: 1, top_p: 0.1, temperature: 0.1, top_k: 5, stop: [x] }";
    let routes =
        "models: [{ name: r, providers: [{ provider: a, model: m }] }]\ndefault_backend: a?verbosity=low&seed=9";
    for text in ["a:m?top_k=2&temperature=0.2", "r?top_k=2&temperature=0.2"] {
        let providers = Providers::with(routes, [("a", params)]);
        let json = json!({ "model": text, "top_k": 3, "temperature": 0.3, "top_p": 0.3 });
        let answer = post_json(providers.gateway.addr(), "/v1/chat/completions", &json, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let expected = json!({ "model": "m", "top_k": 1, "temperature": 0.2, "top_p": 0.3, "seed": 1, "stop": ["x"] });
        assert_eq!(providers.up[0].1.request().json(), expected, "{text}");
    }
    // A default backend's own parameters go before those that the backend has by default.
    let (_, body) = Providers::with(routes, [("a", params)]).sent("other?verbosity=high").await;
    assert_eq!((&body["verbosity"], &body["seed"]), (&json!("high"), &json!(9)));
}

#[tokio::test]
async fn a_choice_fails_over_in_its_order() {
    let (down, up) = (Upstream::always(Reply::error(500, "down", "down")), Upstream::always(Reply::chat("here")));
    let refusing = Refusing::new();
    let gateway = Deployed::start(&backends([
        backend("down", &down.url(""), ""),
        backend("gone", &refusing.url(""), ""),
        backend("up", &up.url(""), ""),
    ]));
    let answer = gateway.chat("down:x?seed=1 | gone:y | up:z?seed=3 | down:never").await;
    assert_eq!((answer.status, answer.header("x-pointsman-attempts")), (200, Some("3")));
    assert_eq!(down.request().json()["seed"], 1);
    let received = up.request().json();
    assert_eq!((&received["model"], &received["seed"]), (&json!("z"), &json!(3)));
    assert_eq!((gateway.errors("down"), gateway.errors("gone"), gateway.errors("up")), (1, 1, 0));
    // The same for a stream.
    let streaming = Upstream::always(Reply::chat_stream(["h", "i"]));
    let gateway =
        Deployed::start(&backends([backend("down", &down.url(""), ""), backend("up", &streaming.url(""), "")]));
    let answer = gateway.stream("down:x|up:z").await;
    assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    // Whatever the request is at fault for is told, and nobody else is asked.
    let refuses = Upstream::always(Reply::error(400, "bad", "bad"));
    let gateway = Deployed::start(&backends([backend("r", &refuses.url(""), ""), backend("up", &up.url(""), "")]));
    assert_eq!(gateway.chat("r:x|up:z").await.status, 400);
}

#[tokio::test]
async fn a_choice_may_name_routes_with_their_conditions() {
    let up = Upstream::always(Reply::chat("here"));
    let gateway = Deployed::start(&format!(
        "models: [{{ name: closed, providers: [{{ provider: up, model: no, condition: false }}, {{ provider: up, model: yes }}] }}]\n{}",
        backends([backend("up", &up.url(""), "")])
    ));
    let answer = gateway.chat("closed?seed=4|up:other").await;
    assert_eq!((answer.status, answer.header("x-pointsman-model")), (200, Some("yes")));
    assert_eq!(up.request().json()["seed"], 4);
}

#[tokio::test]
async fn a_weighted_choice_asks_each_and_fails_over_to_the_others() {
    let (down, up) = (Upstream::always(Reply::error(500, "down", "down")), Upstream::always(Reply::chat("here")));
    let gateway = Deployed::start(&backends([backend("down", &down.url(""), ""), backend("up", &up.url(""), "")]));
    // However it is drawn, somebody answers; with these weights the first is all but always the heavy one.
    assert_eq!(gateway.chat("[weight=4000000000]down:x^up:y").await.status, 200);
    assert_eq!((down.requests().len(), up.requests().len()), (1, 1));
    assert_eq!(gateway.chat("[weight=4000000000]up:x^down:y").await.status, 200);
    assert_eq!((down.requests().len(), up.requests().len()), (1, 2));
}

#[tokio::test]
async fn a_seed_draws_the_same_again() {
    let up = Upstream::always(Reply::chat("here"));
    let yaml = format!("default_backend: '[weight=2]up:x^up:y'\n{}", backends([backend("up", &up.url(""), "")]));
    let drawn = |seed| {
        let config = Config::from_yaml_with(&yaml, &|_: &str| None).unwrap().config;
        let gateway = Gateway::with_seed(config, seed);
        let first = |model| gateway.explain(model).unwrap().candidates[0].model.clone();
        (0..40).map(|_| first("[weight=3]up:a^up:b") + &first("whatever")).collect::<Vec<_>>()
    };
    let one = drawn(1);
    assert_eq!(one, drawn(1));
    assert_ne!(one, drawn(2));
    for model in ["ax", "ay", "bx", "by"] {
        assert!(one.iter().any(|drawn| drawn == model), "{model}: {one:?}");
    }
}

#[tokio::test]
async fn aliases_are_other_spellings() {
    let more = "default_backend: a\nmodel_aliases:\n\
                \x20 - { pattern: '^gpt-4o$', replacement: 'b:llama-3.3-70b' }\n\
                \x20 - { pattern: 'gpt-(\\d)', replacement: 'b:g$1?seed=1' }\n\
                \x20 - { pattern: 'claude-(?P<kind>[a-z]+)', replacement: 'c.one:${1}x' }\n";
    for (text, provider, model) in [
        ("gpt-4o", "b", "llama-3.3-70b"),
        ("gpt-5", "b", "g5"),
        ("claude-opus", "c.one", "opusx"),
        ("my-gpt-4o", "a", "my-gpt-4o"),
    ] {
        let (asked, body) = sent(more, text).await;
        assert_eq!((asked, &body["model"]), (provider, &json!(model)), "{text}");
    }
}

#[tokio::test]
async fn a_forced_model_takes_the_place_of_whatever_is_asked_for() {
    let up = Upstream::always(Reply::chat("here"));
    let yaml =
        format!("model_aliases: [{{ pattern: a, replacement: b }}]\n{}", backends([backend("up", &up.url(""), "")]));
    let asked = |overrides: Overrides| {
        let mut config = Config::from_yaml_with(&yaml, &|_: &str| None).unwrap().config;
        config.apply(overrides, &|_: &str| None).map(|()| Served::start(Gateway::from_config(config)))
    };
    let force = |model: &str| Overrides { force_model: Some(model.to_owned()), ..Overrides::default() };
    let served = asked(force("gone:x|up:forced?seed=2")).unwrap();
    let error = post_json(served.addr(), "/v1/chat/completions", &json!({ "model": "whatever" }), &[]).await;
    assert_eq!(error.status, 404, "`gone` is no backend: {}", error.text());
    let served = asked(force("up:forced?seed=2")).unwrap();
    let answer = post_json(served.addr(), "/v1/chat/completions", &json!({ "model": "whatever" }), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = up.request().json();
    assert_eq!((&received["model"], &received["seed"]), (&json!("forced"), &json!(2)));

    let wrong = asked(force("up:forced?sed=2")).unwrap_err();
    assert!(wrong.contains("the forced model") && wrong.contains("did you mean `seed`?"), "{wrong}");
    let default = |text: &str| Overrides { default_backend: Some(text.to_owned()), ..Overrides::default() };
    assert!(asked(default("up|")).unwrap_err().contains("the default backend `up|`: expected a model here"));
    assert!(asked(default("up|upp")).unwrap_err().contains("there is no backend `upp`"));
    assert!(asked(default("hybrid:[up,up]")).unwrap_err().contains("a hybrid cannot be the default backend"));
}

#[tokio::test]
async fn the_default_backend_may_be_a_choice() {
    let down = Upstream::always(Reply::error(500, "down", "down"));
    let up = Upstream::always(Reply::chat("here"));
    let gateway = Deployed::start(&format!(
        "default_backend: down|up:always-this?temperature=0.1\n{}",
        backends([backend("down", &down.url(""), ""), backend("up", &up.url(""), "")])
    ));
    let answer: Answer = gateway.chat("whatever?seed=1").await;
    assert_eq!((answer.status, answer.header("x-pointsman-model")), (200, Some("always-this")));
    assert_eq!(down.request().json()["model"], "whatever");
    let received = up.request().json();
    assert_eq!((&received["temperature"], &received["seed"]), (&json!(0.1), &json!(1)));
}

/// Each is refused with this code, and its message has this text, the place included.
const BAD: [(&str, &str, &str); 51] = [
    ("", "selector", "expected a model here (character 1 of"),
    ("   ", "selector", "expected a model here (character 4 of"),
    ("a:m|", "selector", "expected a model here (character 5 of"),
    ("|a:m", "selector", "expected a model here (character 1 of"),
    ("a:m||a:n", "selector", "expected a model here (character 5 of"),
    ("a:m^", "selector", "expected a model here (character 5 of"),
    ("^", "selector", "expected a model here (character 1 of"),
    ("?seed=1", "selector", "expected a model here (character 1 of"),
    ("a:m|?seed=1", "selector", "expected a model here (character 5 of"),
    ("a:", "selector", "expected a model behind `a:` (character 1 of"),
    ("a:m|a.b:m", "selector", "`a` has no instance `a.b` (character 5 of"),
    ("a:m|a:n^a:o", "selector", "`|` and `^` cannot stand in one choice"),
    ("a:m^a:n|a:o", "selector", "(character 8 of"),
    ("[weight=2]a:m|a:n", "selector", "a weight goes with `^`; `|` gives an order (character 1 of"),
    ("a:m|[weight=2]a:n", "selector", "(character 5 of"),
    ("[weight=0]a:m^a:n", "selector", "a weight is a whole number, at least 1 (character 1 of"),
    ("[weight=-1]a:m^a:n", "selector", "a weight is a whole number"),
    ("[weight=1.5]a:m^a:n", "selector", "a weight is a whole number"),
    ("[weight=x]a:m^a:n", "selector", "a weight is a whole number"),
    ("[weight=99999999999]a:m^a:n", "selector", "a weight is a whole number"),
    ("a:m^[wieght=2]a:n", "selector", "only a weight may stand here, as in `[weight=2]` (character 5 of"),
    ("[weight=2a:m", "selector", "this `[` is never closed (character 1 of"),
    ("[weight=2]", "selector", "expected a model here (character 11 of"),
    ("a:m]", "selector", "this `]` closes nothing (character 4 of"),
    ("a:m[1", "selector", "this `[` is never closed (character 4 of"),
    ("hybrid:a,b", "selector", "expected `[` behind `hybrid:`, as in `hybrid:[one,other]` (character 8 of"),
    ("hybrid:", "selector", "expected `[` behind `hybrid:`"),
    ("hybrid:[a:m]", "selector", "expected `,` and a second model before this `]` (character 12 of"),
    ("hybrid:[a:m,a:n", "selector", "this `[` is never closed (character 8 of"),
    ("hybrid:[a:m,a:n,a:o]", "selector", "a hybrid has two models, this starts a third (character 16 of"),
    ("hybrid:[a:m,]", "selector", "expected a model here (character 13 of"),
    ("hybrid:[,a:m]", "selector", "expected a model here (character 9 of"),
    ("hybrid:[a:m,a:n]x", "selector", "nothing may stand behind the `]` of a hybrid (character 17 of"),
    ("hybrid:[a:m,a:n]?seed=1", "selector", "nothing may stand behind the `]`"),
    ("hybrid:[a:m,hybrid:[a:n,a:o]]", "selector", "a hybrid cannot stand within a hybrid (character 13 of"),
    ("a:m|hybrid:[a:n,a:o]", "selector", "a hybrid cannot stand within a choice (character 5 of"),
    ("[weight=2]hybrid:[a:m,a:n]", "selector", "a hybrid cannot stand within a choice (character 11 of"),
    ("hybrid:[a:m,a:n|hybrid:[a:o,a:p]]", "selector", "a hybrid cannot stand within a choice (character 17 of"),
    ("a:1|a:2|a:3|a:4|a:5|a:6|a:7|a:8|a:9", "selector", "9 models are too many, 8 are the most (character 33 of"),
    ("a:\u{7}", "selector", "a model has no control characters (character 3 of"),
    ("a:é?sed=1", "parameter", "`sed=1`: there is no parameter `sed`; did you mean `seed`? (character 5 of"),
    ("a:m?", "parameter", "``: expected a parameter, as in `temperature=0.7` (character 5 of"),
    ("a:m?seed", "parameter", "`seed`: expected a parameter"),
    ("a:m?seed=1&seed=2", "parameter", "`seed=2`: `seed` is given twice (character 12 of"),
    ("a:m?temperature=2.1", "parameter", "`temperature=2.1`: expected a number from 0 to 2 (character 5 of"),
    ("a:m?temperature=NaN", "parameter", "expected a number from 0 to 2"),
    ("a:m?presence_penalty=-inf", "parameter", "expected a number from -2 to 2"),
    ("a:m?top_k=0", "parameter", "`top_k=0`: expected a whole number, at least 1"),
    ("a:m?max_tokens=1.5", "parameter", "`max_tokens=1.5`: expected a whole number, at least 1"),
    ("a:m?verbosity=loud", "parameter", "`verbosity=loud`: expected low, medium or high"),
    ("a:m?seed=%ff", "parameter", "`seed=%ff`: this is not UTF-8 once it is decoded"),
];

#[tokio::test]
async fn every_bad_model_string_is_refused_with_its_place() {
    let providers = Providers::start("default_backend: a");
    for (text, kind, message) in BAD {
        let (status, error) = refused(&providers.gateway, text).await;
        assert_eq!((status, &error["code"]), (400, &json!(format!("invalid_model_{kind}"))), "{text}: {error}");
        assert_eq!(error["param"], "model");
        assert!(error["message"].as_str().unwrap().contains(message), "{text}: {error}");
    }
    let (status, error) = refused(&providers.gateway, &"é".repeat(600)).await;
    assert_eq!(status, 400);
    assert!(error["message"].as_str().unwrap().contains("1024 are the most (character 513 of"), "{error}");
    assert!(providers.up.iter().all(|(_, up)| up.requests().is_empty()), "nothing was sent");
}
