//! The list of models: what the configuration names, and what the backends themselves say they have.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Answer, Binary, Deployed, Gate, Refusing, Reply, Upstream, backend, backends, get, guard};
use tokio::task::JoinSet;

const LIVE: &str = "/v1/models?live=true";

/// A provider that lists these models.
fn listing(ids: &'static [&'static str]) -> Upstream {
    Upstream::start(move |_| Reply::json(200, &list(ids)))
}

fn list(ids: &[&str]) -> Value {
    let models: Vec<_> =
        ids.iter().map(|id| json!({ "id": id, "object": "model", "created": 7, "secret": 1 })).collect();
    json!({ "object": "list", "data": models })
}

/// A gateway with the route `m` and a backend for each upstream, the first of which has a model in the configuration.
fn gateway(roots: &[String]) -> Deployed {
    let entry =
        |(n, root): (usize, &String)| backend(&format!("b{n}"), root, if n == 0 { "models: [named]" } else { "" });
    let route = "models: [{ name: m, providers: [{ provider: b0 }] }]\n";
    Deployed::start(&format!("{route}{}", backends(roots.iter().enumerate().map(entry))))
}

/// The ids and owners of a list.
fn listed(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let json = answer.json();
    assert_eq!(json["object"], "list");
    let text = |model: &Value, key: &str| model[key].as_str().expect("a text").to_owned();
    let models = json["data"].as_array().expect("a list");
    for model in models {
        assert_eq!((model.as_object().expect("an object").len(), &model["object"]), (4, &json!("model")));
    }
    models.iter().map(|model| (text(model, "id"), text(model, "owned_by"))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(id, owner)| ((*id).to_owned(), (*owner).to_owned())).collect()
}

const NAMED: [(&str, &str); 2] = [("m", "pointsman"), ("named", "b0")];

#[tokio::test]
async fn the_usual_list_asks_nobody() {
    let upstream = Upstream::script([]);
    let gateway = gateway(&[upstream.url("")]);
    for target in
        ["/v1/models", "/llm/v1/models", "/v1/models?live=false", "/v1/models?limit=2", "/v1/models?alive=true"]
    {
        assert_eq!(listed(&get(gateway.addr(), target, &[]).await), pairs(&NAMED), "{target}");
    }
}

#[tokio::test]
async fn a_live_list_has_what_the_backends_say_behind_what_is_named() {
    let first = listing(&["x", "named", "m"]);
    let second = listing(&["x", "y"]);
    let bare = Upstream::always(Reply::json(200, &json!([{ "id": "z" }, { "name": "no id" }, { "id": "" }, 7])));
    let gateway = gateway(&[first.url(""), second.url("/base"), bare.url("")]);
    let answer = get(gateway.addr(), LIVE, &[("authorization", "Bearer client"), ("cookie", "a=b")]).await;
    let mut expected = pairs(&NAMED);
    expected.extend(pairs(&[("x", "b0"), ("y", "b1"), ("z", "b2")]));
    assert_eq!(listed(&answer), expected);
    assert_eq!(answer.json()["data"][2]["created"], 7);
    for (n, (upstream, path)) in
        [(&first, "/v1/models"), (&second, "/base/v1/models"), (&bare, "/v1/models")].iter().enumerate()
    {
        let asked = upstream.request();
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", *path));
        assert_eq!(asked.header("authorization"), Some(format!("Bearer key-of-b{n}").as_str()), "its own key alone");
        assert_eq!(asked.header("cookie"), None);
    }
    assert_eq!(listed(&get(gateway.addr(), "/v1/models", &[]).await), pairs(&NAMED), "the usual one is as before");
}

#[tokio::test]
async fn it_is_asked_for_once_for_many() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::json(200, &list(&["x"])).held_by(&held));
    let gateway = gateway(&[upstream.url("")]);
    let mut tasks = JoinSet::new();
    for n in 0..50 {
        let addr = gateway.addr();
        let target = if n % 2 == 0 { LIVE } else { "/llm/v1/models?a=b&live=1" };
        tasks.spawn(async move { get(addr, target, &[]).await });
    }
    upstream.wait_for(1).await;
    gate.open();
    while let Some(answer) = guard("the lists", tasks.join_next()).await {
        assert_eq!(listed(&answer.expect("no panic")).len(), 3);
    }
    assert_eq!(listed(&get(gateway.addr(), LIVE, &[]).await).len(), 3);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_spoil_it() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::json(200, &list(&["x"])).held_by(&held));
    let gateway = gateway(&[upstream.url("")]);
    let mut client = gateway.client().await;
    client.request("GET", LIVE, &[], b"").await;
    upstream.wait_for(1).await;
    drop(client);
    gate.open();
    assert_eq!(listed(&get(gateway.addr(), LIVE, &[]).await).len(), 3);
}

#[tokio::test]
async fn backends_that_fail_are_left_out() {
    let nobody = Refusing::new();
    let refuses = Upstream::always(Reply::error(401, "invalid_api_key", "canary"));
    let garbled = Upstream::always(Reply::json(200, &json!({ "data": "canary" })));
    let page = Upstream::always(Reply::body(200, "text/html", "<html>"));
    let huge = Upstream::always(Reply::json(200, &json!({ "data": [{ "id": "x".repeat(9 << 20) }] })));
    let elsewhere = listing(&["stolen"]);
    let redirects = Upstream::always(Reply::redirect(302, &elsewhere.url("/v1/models")));
    let good = listing(&["x"]);
    let upstreams = [&refuses, &garbled, &page, &huge, &redirects, &good];
    let roots: Vec<_> = [nobody.url("")].into_iter().chain(upstreams.map(|upstream| upstream.url(""))).collect();
    let gateway = gateway(&roots);
    let mut expected = pairs(&NAMED);
    expected.extend(pairs(&[("x", "b6")]));
    assert_eq!(listed(&get(gateway.addr(), LIVE, &[]).await), expected);
    assert!(elsewhere.requests().is_empty());
    assert_eq!((0..7).map(|n| gateway.errors(&format!("b{n}"))).sum::<u64>(), 0, "no error of a request");
}

#[tokio::test]
async fn it_needs_a_key_of_the_gateway_s() {
    let upstream = Upstream::script([]);
    let config = format!("server: {{ api_keys: [canary] }}\n{}", backends([backend("a", &upstream.url(""), "")]));
    let gateway = Deployed::start(&config);
    assert_eq!(get(gateway.addr(), LIVE, &[]).await.status, 401);
}

#[tokio::test]
async fn backends_that_cannot_be_asked_are_not() {
    let running = Binary::new(["--port", "0", "--config", "c.yaml"])
        .file("c.yaml", "backends:\n  groq: {}\n  qwen-oauth: {}\n")
        .start();
    let answer = get(running.listening().await, LIVE, &[]).await;
    assert_eq!(listed(&answer), []);
}

/// Every backend at once may be slow; the list is there when the slowest has had its time.
#[tokio::test(start_paused = true)]
async fn a_silent_backend_is_waited_for_no_longer_than_its_time() {
    use http::Request;
    use http_body_util::{BodyExt as _, Empty};
    use tower::ServiceExt as _;

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let root = format!("http://{}", silent.local_addr().expect("an address"));
    let gateway = gateway(&[root]);
    let before = tokio::time::Instant::now();
    let request = Request::get(LIVE).body(Empty::<bytes::Bytes>::new()).expect("a request");
    let response = gateway.gateway().clone().oneshot(request).await.expect("it answers");
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.expect("whole").to_bytes();
    let json: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(json["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(before.elapsed().as_secs(), Duration::from_secs(5).as_secs());
}

/// Lets time pass while nothing is under way.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn it_is_good_for_ten_minutes_and_for_one_if_a_backend_is_missing() {
    let upstream = listing(&["x"]);
    let whole = gateway(&[upstream.url("")]);
    let nobody = Refusing::new();
    let other = listing(&["y"]);
    let partial = gateway(&[other.url(""), nobody.url("")]);
    let mut asked = Vec::new();
    for wait in [0, 55, 10, 530, 10] {
        pass(Duration::from_secs(wait)).await;
        for gateway in [&whole, &partial] {
            get(gateway.addr(), LIVE, &[]).await;
        }
        asked.push((upstream.requests().len(), other.requests().len()));
    }
    assert_eq!(asked, [(1, 1), (1, 1), (1, 2), (1, 3), (2, 3)]);
}
