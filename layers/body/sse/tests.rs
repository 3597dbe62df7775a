use std::ops::Range;

use proptest::{prelude::*, sample::Index};

use super::*;

/// An event as the standard's algorithm has it, and where its lines are.
#[derive(Clone, Debug, PartialEq)]
struct Dispatched {
    range: Range<usize>,
    kind: Vec<u8>,
    data: Vec<u8>,
}

/// The standard's algorithm word for word, over the whole stream at once.
fn reference(stream: &[u8]) -> Vec<Dispatched> {
    let mut lines = Vec::new();
    let mut at = if stream.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    while let Some(length) = stream[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        lines.push(at..at + length);
        at += length;
        at += if stream[at..].starts_with(b"\r\n") { 2 } else { 1 };
    }
    // What is left at `at` has no line end: it is dropped with the event it belongs to.
    let mut events = Vec::new();
    let (mut start, mut kind, mut data) = (None, Vec::new(), Vec::new());
    for line in lines {
        if line.is_empty() {
            let (start, kind, mut data) = (start.take(), std::mem::take(&mut kind), std::mem::take(&mut data));
            if data.pop().is_some() {
                let start = start.expect("a line of data before");
                events.push(Dispatched { range: start..line.start, kind, data });
            }
            continue;
        }
        start.get_or_insert(line.start);
        let line = &stream[line];
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) if line.get(colon + 1) == Some(&b' ') => (&line[..colon], &line[colon + 2..]),
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[..0]),
        };
        match field {
            b"event" => kind = value.to_vec(),
            b"data" => {
                data.extend_from_slice(value);
                data.push(b'\n');
            }
            _ => {}
        }
    }
    events
}

fn ranges<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Range<usize>> {
    let mut reader = EventReader::new();
    let mut found = Vec::new();
    for mut chunk in chunks {
        while let Some(range) = reader.read(&mut chunk) {
            found.push(range.start as usize..range.end as usize);
        }
        assert!(chunk.is_empty());
    }
    found
}

/// Each event as its lines, type and data, or nothing where it was too large.
fn collected<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Vec<Option<[Vec<u8>; 3]>> {
    let mut events = EventCollector::new(limit);
    let mut found = Vec::new();
    for mut chunk in chunks {
        while let Some(event) = events.read(&mut chunk) {
            found.push(event.ok().map(|event| {
                assert_eq!(*event.data(), *Event::new(event.as_bytes()).data());
                [event.as_bytes().to_vec(), event.kind().to_vec(), event.data().into_owned()]
            }));
        }
    }
    found
}

fn expected(stream: &[u8], limit: usize) -> Vec<Option<[Vec<u8>; 3]>> {
    let found = reference(stream).into_iter();
    found
        .map(|event| (event.range.len() <= limit).then(|| [stream[event.range].to_vec(), event.kind, event.data]))
        .collect()
}

/// The pieces between the cuts; some may be empty.
fn cut<'a>(stream: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([stream.len()]);
    std::iter::once(0).chain(cuts.iter().copied()).zip(ends).map(|(start, end)| &stream[start..end]).collect()
}

/// Streams out of pieces that matter to the reader, in any order, with junk between them.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line_end = prop_oneof![Just("\n"), Just("\r"), Just("\r\n")].prop_map(|end| end.as_bytes().to_vec());
    let words = prop::sample::select(vec![
        "data: {\"a\":1}",
        "data:tight",
        "data:  two",
        "data",
        "data:",
        "data: [DONE]",
        "data: [DONE] not",
        "data:[DONE]",
        "datum: no",
        "Data: no",
        " data: no",
        "event: error",
        "event:",
        "event",
        ": comment",
        ":",
        "id: 7",
        "retry: 10",
        "nonsense",
        "a: b: c",
        "data: 12345678901234567890",
    ]);
    let junk = prop::collection::vec(any::<u8>(), 0..6);
    let mark = Just(b"\xEF\xBB\xBF".to_vec());
    let part = prop_oneof![
        6 => line_end,
        5 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => junk,
        1 => mark.clone(),
    ];
    let start = prop_oneof![2 => Just(Vec::new()), 1 => mark];
    (start, prop::collection::vec(part, 0..24)).prop_map(|(start, parts)| [start, parts.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn events_are_those_of_the_standard_at_every_cut(stream in stream(), limit in 0..40usize) {
        let events: Vec<_> = reference(&stream).into_iter().map(|event| event.range).collect();
        let all = expected(&stream, usize::MAX);
        let small = expected(&stream, limit);
        prop_assert_eq!(ranges([&stream[..]]), events.clone());
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            prop_assert_eq!(ranges([left, right]), events.clone());
            prop_assert_eq!(collected([left, right], usize::MAX), all.clone());
            prop_assert_eq!(collected([left, right], limit), small.clone());
        }
        prop_assert_eq!(ranges(stream.chunks(1)), events);
        prop_assert_eq!(collected(stream.chunks(1), usize::MAX), all);
        prop_assert_eq!(collected(stream.chunks(1), limit), small);
    }

    #[test]
    fn events_are_those_of_the_standard_at_many_cuts(
        stream in stream(), limit in 0..40usize, cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        let events: Vec<_> = reference(&stream).into_iter().map(|event| event.range).collect();
        let chunks = cut(&stream, &cuts);
        prop_assert_eq!(ranges(chunks.iter().copied()), events);
        prop_assert_eq!(collected(chunks.iter().copied(), usize::MAX), expected(&stream, usize::MAX));
        prop_assert_eq!(collected(chunks, limit), expected(&stream, limit));
    }

    #[test]
    fn an_event_can_be_added_wherever_a_stream_breaks(stream in stream()) {
        let mut reader = EventReader::new();
        for at in 0..=stream.len() {
            let mut added = stream[..at].to_vec();
            prop_assert_eq!(reader.at_border(), reader.closing().is_empty());
            added.extend_from_slice(reader.closing().as_bytes());
            let before = reference(&added);
            added.extend_from_slice(b"data: added\n\n");
            let mut after = reference(&added);
            let last = after.pop().expect("the one that was added");
            prop_assert_eq!((&last.kind[..], &last.data[..]), (&b""[..], &b"added"[..]));
            prop_assert_eq!(before, after);
            if let Some(mut byte) = stream.get(at..=at) {
                reader.read(&mut byte);
            }
        }
    }

    #[test]
    fn done_is_a_line_of_its_own(stream in stream()) {
        let mut reader = EventReader::new();
        let mut rest = &stream[..];
        while reader.read(&mut rest).is_some() {}
        let text = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&stream);
        let mut lines: Vec<_> = text.split(|byte| matches!(byte, b'\n' | b'\r')).collect();
        lines.pop(); // not finished
        prop_assert_eq!(reader.is_done(), lines.iter().any(|line| matches!(*line, b"data: [DONE]" | b"data:[DONE]")));
    }
}

#[test]
fn an_event_is_reported_before_the_line_end_is_whole() {
    let mut reader = EventReader::new();
    assert_eq!(reader.read(&mut &b"data: x\r\n\r"[..]), Some(0..9));
    assert_eq!(reader.read(&mut &b"\ndata: y\r\n\r\n"[..]), Some(11..20));
}

#[test]
fn the_fields_of_an_event_are_all_there() {
    let event = Event::new(b"id:1\r\nevent:error\r\n:HTTP_STATUS/429\r\ndata: a\r\ndata\r\ndata:  b\r\nretry: 5\r\n");
    let names: Vec<_> = event.fields().map(|(name, _)| name).collect();
    assert_eq!(names, [&b"id"[..], b"event", b"", b"data", b"data", b"data", b"retry"]);
    assert_eq!(event.comments().collect::<Vec<_>>(), [b"HTTP_STATUS/429"]);
    assert_eq!(event.kind(), b"error");
    assert_eq!(*event.data(), *b"a\n\n b");
}

#[test]
fn an_event_in_one_chunk_is_not_copied() {
    let chunk = b"data: one\n\ndata: two\n\n";
    let mut events = EventCollector::new(1024);
    let mut rest = &chunk[..];
    for start in [0, 11] {
        let event = events.read(&mut rest).expect("an event").expect("in the limit");
        assert!(std::ptr::eq(event.as_bytes(), &chunk[start..start + 10]));
    }
}

#[test]
fn an_event_over_the_limit_is_not_kept() {
    let mut events = EventCollector::new(100);
    assert!(events.read(&mut &b"data: "[..]).is_none());
    for _ in 0..1000 {
        assert!(events.read(&mut &b"xxxxxxxxxx"[..]).is_none());
    }
    assert!(format!("{events:?}").contains("partial: 0"), "{events:?}");
    let mut rest = &b"\n\ndata: next\n\n"[..];
    let error = events.read(&mut rest).expect("an event").expect_err("over the limit");
    assert_eq!((error.limit(), error.to_string()), (100, "an event is over the limit of 100 bytes".to_owned()));
    assert_eq!(*events.read(&mut rest).expect("an event").expect("in the limit").data(), *b"next");
}

#[test]
fn an_unfinished_event_can_be_asked_for() {
    let mut events = EventCollector::default();
    assert!(events.read(&mut &b"event: error\r\ndata: tw"[..]).is_none());
    let event = events.read_unfinished().expect("an event").expect("in the limit");
    assert_eq!((event.kind(), &*event.data()), (&b"error"[..], &b"tw"[..]));
    assert!(events.read_unfinished().is_none());
}
