//! What the tour shows, in its order.

pub(super) struct Step {
    pub(super) title: &'static str,
    pub(super) scenes: &'static [Scene],
}

/// A request, what it shows, and what has to come back for that to be true.
pub(super) struct Scene {
    pub(super) shows: &'static str,
    pub(super) model: &'static str,
    pub(super) stream: bool,
    /// How often it is sent; the answers are alike.
    pub(super) times: usize,
    /// Whether it is sent a second time while the first is held at a rate limit.
    pub(super) twice: bool,
    /// The seconds that an answer takes at the least.
    pub(super) takes: f64,
    /// What the provider's text has in it.
    pub(super) says: &'static str,
    pub(super) status: u16,
    /// Who answers; `None`: the gateway itself.
    pub(super) provider: Option<&'static str>,
    /// Each candidate's turn: the provider, and what came of it, or why it was skipped.
    pub(super) attempts: &'static [(&'static str, &'static str)],
    pub(super) ends: Ends,
}

/// How the answer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Whole,
    /// With an error of this code, after some text or in its place.
    InError {
        code: &'static str,
        after_text: bool,
    },
}

pub(super) const ONCE: Scene = Scene {
    shows: "",
    model: "",
    stream: false,
    times: 1,
    twice: false,
    takes: 0.0,
    says: "",
    status: 200,
    provider: None,
    attempts: &[],
    ends: Ends::Whole,
};

/// The order matters: the providers remember what was asked of them.
pub(super) static STEPS: [Step; 9] = [
    Step {
        title: "The first choice answers",
        scenes: &[
            Scene {
                shows: "A route's providers stand in order of preference. All is well, so the first one is asked.",
                model: "my-gpt4",
                provider: Some("OpenaiAccount"),
                attempts: &[("OpenaiAccount", "200")],
                ..ONCE
            },
            Scene { model: "llama-fast", provider: Some("Groq"), attempts: &[("Groq", "200")], ..ONCE },
            Scene { model: "yupp-chat", stream: true, provider: Some("Yupp"), attempts: &[("Yupp", "200")], ..ONCE },
        ],
    },
    Step {
        title: "A quota is used up: the next provider answers",
        scenes: &[
            Scene {
                shows: "The first request has used up OpenaiAccount's balance. Its condition still lets it be asked, \
                        for it has few errors. It refuses, and the same request goes on to the next provider.",
                model: "my-gpt4",
                times: 3,
                provider: Some("PollinationsAI"),
                attempts: &[("OpenaiAccount", "429"), ("PollinationsAI", "200")],
                ..ONCE
            },
            Scene {
                shows: "With no balance and three errors its condition is false: nobody asks it any more.",
                model: "my-gpt4",
                provider: Some("PollinationsAI"),
                attempts: &[
                    ("OpenaiAccount", "closed: balance > 0 or error_count < 3 (balance = 0, error_count = 3)"),
                    ("PollinationsAI", "200"),
                ],
                ..ONCE
            },
        ],
    },
    Step {
        title: "Errors over the limit: the next provider answers",
        scenes: &[
            Scene {
                shows: "Groq is over capacity. Each of these requests is answered all the same.",
                model: "llama-fast",
                times: 3,
                provider: Some("DeepInfra"),
                attempts: &[("Groq", "503"), ("DeepInfra", "200")],
                ..ONCE
            },
            Scene {
                shows: "Three errors within the hour are the limit of its condition, so it is left alone.",
                model: "llama-fast",
                provider: Some("DeepInfra"),
                attempts: &[("Groq", "closed: error_count < 3 (error_count = 3)"), ("DeepInfra", "200")],
                ..ONCE
            },
        ],
    },
    Step {
        title: "A stream fails before its first event: the next provider answers",
        scenes: &[Scene {
            shows: "Yupp says 200, and then sends an error. Nothing has reached the client yet, so the next provider \
                    can still answer, and the client notices nothing.",
            model: "yupp-chat",
            stream: true,
            provider: Some("PollinationsAI"),
            attempts: &[("Yupp", "503 before the first event"), ("PollinationsAI", "200")],
            ..ONCE
        }],
    },
    Step {
        title: "A stream breaks after its first event: the client is told",
        scenes: &[Scene {
            shows: "Yupp sends one event, and the connection breaks. The client has that event, so nobody else may \
                    answer: two answers are never glued together. The stream ends in an error, not as if complete.",
            model: "yupp-chat",
            stream: true,
            provider: Some("Yupp"),
            attempts: &[("Yupp", "200")],
            ends: Ends::InError { code: "upstream_stream_broken", after_text: true },
            ..ONCE
        }],
    },
    Step {
        title: "All conditions are false: 503 with the reasons",
        scenes: &[Scene {
            shows: "Both providers of this route have conditions, and what steps 2 and 3 taught the gateway holds for \
                    every route. So nobody is asked.",
            model: "all-gated",
            status: 503,
            attempts: &[
                ("OpenaiAccount", "closed: balance > 0 (balance = 0)"),
                ("Groq", "closed: error_count < 3 (error_count = 3)"),
            ],
            ends: Ends::InError { code: "no_eligible_provider", after_text: false },
            ..ONCE
        }],
    },
    Step {
        title: "A token has expired: it is renewed, and nobody notices",
        scenes: &[Scene {
            shows: "Coder takes the tokens of a login, kept in a file. The one there is too old, so the gateway gets a \
                    new one, writes it to the file, and sends the request with it.",
            model: "coder",
            says: "Tokens renewed: 1. Requests: 1.",
            provider: Some("Coder"),
            attempts: &[("Coder", "200")],
            ..ONCE
        }],
    },
    Step {
        title: "A rate limit: the request is held, and sent once more",
        scenes: &[Scene {
            shows: "Coder's answer to this was 429 with `Retry-After: 1`. The gateway waited that second and asked \
                    once more; the client saw the second answer alone.",
            model: "coder",
            takes: 1.0,
            says: "Requests: 3.",
            provider: Some("Coder"),
            attempts: &[("Coder", "200")],
            ..ONCE
        }],
    },
    Step {
        title: "A second request meets the same rate limit: it waits too",
        scenes: &[Scene {
            shows: "Two requests. The first met a 429 and was held for two seconds. The second came meanwhile: the \
                    gateway knew of the limit, so it waited as well, and was sent once.",
            model: "coder",
            twice: true,
            takes: 0.5,
            // The refused one, and one for each of the two.
            says: "Requests: 6.",
            provider: Some("Coder"),
            attempts: &[("Coder", "200")],
            ..ONCE
        }],
    },
];
