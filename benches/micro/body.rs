use std::hint::black_box;

use bytes::Bytes;
use criterion::Criterion;
use pointsman_layers::{
    body::{EventCollector, EventReader, ReplayBody},
    route::ModelField,
};

use crate::harness::bench;

/// A chat of about this size, with quotes and line ends in its text.
pub(crate) fn chat(size: usize) -> Bytes {
    const TEXT: &str = "The signalman said: \\\"All clear on the down line\\\", and set the points.\\n";
    let mut body = String::from("{\"model\":\"my-gpt4\",\"stream\":true,\"temperature\":0.7,\"messages\":[");
    while body.len() + 40 < size {
        body.push_str("{\"role\":\"user\",\"content\":\"");
        let end = (body.len() + 2048).min(size);
        while body.len() + TEXT.len() < end {
            body.push_str(TEXT);
        }
        body.push_str("\"},");
    }
    body.pop();
    body.push_str("]}");
    body.into()
}

pub(crate) fn event(number: usize) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\
         \"delta\":{{\"content\":\" token {number}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

pub(crate) fn benches(criterion: &mut Criterion) {
    for (name, size) in [("1 KiB", 1 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)] {
        let body = chat(size);
        bench(
            criterion,
            &format!("find the model/{name}"),
            || (),
            |()| ModelField::find(black_box(&body)).expect("a model").span,
        );
        let replay = ReplayBody::from(body.clone());
        let span = ModelField::find(&body).expect("a model").span;
        let model = Bytes::from_static(b"\"gpt-4o\"");
        bench(criterion, &format!("splice/{name}"), || (), |()| replay.splice(span.clone(), model.clone()));
    }

    let events: Vec<String> = (0..64).map(event).collect();
    let whole = events.concat();
    bench(criterion, "read 64 events/one chunk", EventReader::new, |mut reader| {
        let mut chunk = black_box(whole.as_bytes());
        std::iter::from_fn(|| reader.read(&mut chunk)).count()
    });
    bench(criterion, "read 64 events/a chunk each", EventReader::new, |mut reader| {
        let count = |chunk: &String| {
            let mut chunk = chunk.as_bytes();
            std::iter::from_fn(|| reader.read(&mut chunk)).count()
        };
        black_box(&events).iter().map(count).sum::<usize>()
    });
    bench(criterion, "collect 64 events/chunks of 100 bytes", EventCollector::default, |mut collector| {
        let mut bytes = 0;
        for mut chunk in black_box(whole.as_bytes()).chunks(100) {
            while let Some(event) = collector.read(&mut chunk) {
                bytes += event.map_or(0, |event| event.as_bytes().len());
            }
        }
        bytes
    });
}
