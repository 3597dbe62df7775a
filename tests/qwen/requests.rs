use std::fs;

use crate::{
    Login, OLD, question,
    support::{Reply, Upstream, post_json},
    takes,
};

#[tokio::test]
async fn one_carries_the_token_of_the_file_and_the_headers_of_the_backend() {
    let login = Login::new(takes(OLD));
    login.write(3600);
    let gateway = login.deploy();
    let client_key = [("authorization", "Bearer client"), ("x-api-key", "client")];
    let answer = post_json(gateway.addr(), "/v1/chat/completions", &question("qwen/qwen-max"), &client_key).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "你好");
    let sent = login.upstream.request();
    assert_eq!(sent.json()["model"], "qwen-max");
    assert_eq!(sent.json()["messages"], question("")["messages"]);
    assert_eq!((sent.header("x-dashscope-authtype"), sent.header("x-api-key")), (Some("qwen-oauth"), None));
    assert!(login.tokens.requests().is_empty());
}

#[tokio::test]
async fn the_endpoint_of_the_file_goes_before_the_backend_s() {
    let elsewhere = takes(OLD);
    let login = Login::new(Upstream::always(Reply::error(500, "x", "the wrong server")));
    login.write(3600);
    let mut file = login.file();
    file["resource_url"] = elsewhere.url("").into();
    fs::write(login.path(), file.to_string()).expect("a file");
    assert_eq!(login.deploy().chat("qwen-plus").await.status, 200);
    assert_eq!(elsewhere.request().path(), "/v1/chat/completions");
    assert!(login.upstream.requests().is_empty());
}

#[tokio::test]
async fn a_character_split_across_chunks_arrives_byte_for_byte() {
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"装饰器\"}}]}\n\n".as_bytes();
    // In the middle of a character of three bytes.
    let cut = event.windows(3).position(|bytes| bytes == "饰".as_bytes()).expect("it is there") + 1;
    let reply = Reply::sse().data(event[..cut].to_vec()).data(event[cut..].to_vec()).done();
    let login = Login::new(Upstream::always(reply));
    login.write(3600);
    let answer = login.deploy().stream("qwen-plus").await;
    assert!(answer.body.starts_with(event) && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
}
