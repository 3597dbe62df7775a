use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response, StatusCode, header};
use pin_project::pin_project;
use tower_service::Service;

use super::{
    Credential, CredentialError, SourceFuture, TokenSource,
    headers::{Rendered, TokenHeaders},
};
use crate::{
    body::{AnswerBody, ErrorAnswer, ReplayBody},
    ext::Retries,
    kept::KeptRequest,
};

/// The response future of [`OAuth`](super::OAuth).
#[pin_project]
pub struct OAuthFuture<S, T, B>
where
    S: Service<Request<ReplayBody>>,
{
    #[pin]
    state: State<S::Future, B>,
    /// What a second sending takes; `None` where requests pass untouched.
    replay: Option<Replay<S, T>>,
}

struct Replay<S, T> {
    service: S,
    source: Arc<T>,
    headers: Arc<TokenHeaders>,
    /// The request as it came, until it is sent for the last time. Boxed, for it is large and mostly not looked at.
    kept: Option<Box<KeptRequest<ReplayBody>>>,
}

impl<S, T> Replay<S, T> {
    /// Whether the request may be sent again; that is paid for then.
    fn may_send(&self) -> bool {
        let retries = self.kept.as_ref().and_then(|kept| kept.extensions().get::<Retries>());
        retries.is_none_or(Retries::reserve)
    }
}

#[pin_project(project = StateProj)]
enum State<F, B> {
    /// There is no source.
    Passed(#[pin] F),
    /// There was no token at hand.
    Waiting(SourceFuture<Credential>),
    /// The request is on its way.
    Sent {
        #[pin]
        response: F,
        rendered: Arc<Rendered>,
    },
    /// The token was refused, and the source is asked for another.
    Renewing { renewed: SourceFuture<Option<Credential>>, refusal: Option<Response<B>>, rendered: Arc<Rendered> },
    /// There is another token; the service gets ready for the second sending.
    Replaying(Credential),
    /// The answer is the layer's own.
    Failed(Option<ErrorAnswer>),
}

impl<S, T, B> OAuthFuture<S, T, B>
where
    S: Service<Request<ReplayBody>, Response = Response<B>>,
    T: TokenSource,
{
    pub(super) fn passing(response: S::Future) -> Self {
        Self { state: State::Passed(response), replay: None }
    }

    /// `service` has been polled ready.
    pub(super) fn new(
        mut service: S,
        request: Request<ReplayBody>,
        source: Arc<T>,
        headers: Arc<TokenHeaders>,
    ) -> Self {
        let kept = Some(Box::new(KeptRequest::of(&request)));
        let state = match source.current() {
            Some(credential) => send(&mut service, &headers, request, credential),
            None => State::Waiting(source.token()),
        };
        Self { state, replay: Some(Replay { service, source, headers, kept }) }
    }
}

fn send<S, B>(
    service: &mut S,
    headers: &TokenHeaders,
    mut request: Request<ReplayBody>,
    credential: Credential,
) -> State<S::Future, B>
where
    S: Service<Request<ReplayBody>, Response = Response<B>>,
{
    match headers.render(credential) {
        Ok(rendered) => {
            rendered.put_into(&mut request);
            State::Sent { response: service.call(request), rendered }
        }
        Err(error) => failed(&error),
    }
}

fn failed<F, B>(error: &CredentialError) -> State<F, B> {
    State::Failed(Some(error.to_answer()))
}

impl<S, T, B> Future for OAuthFuture<S, T, B>
where
    S: Service<Request<ReplayBody>, Response = Response<B>>,
    T: TokenSource,
{
    type Output = Result<Response<AnswerBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const UNSENT: &str = "the request is kept until it is sent for the last time";
        let mut this = self.project();
        loop {
            let next = match (this.state.as_mut().project(), this.replay.as_mut()) {
                (StateProj::Passed(response), _) => return response.poll(cx).map_ok(|it| it.map(AnswerBody::inner)),
                (StateProj::Failed(answer), _) => {
                    let answer = answer.take().expect("a future is not polled after it is ready");
                    return Poll::Ready(Ok(answer.into_response()));
                }
                (StateProj::Waiting(token), Some(replay)) => match ready!(token.as_mut().poll(cx)) {
                    Ok(credential) => {
                        let request = replay.kept.as_ref().expect(UNSENT).restore();
                        send(&mut replay.service, &replay.headers, request, credential)
                    }
                    Err(error) => failed(&error),
                },
                (StateProj::Sent { response, rendered }, Some(replay)) => {
                    let response = ready!(response.poll(cx))?;
                    if replay.kept.is_none() || !refuses_token(&response) {
                        return Poll::Ready(Ok(hand_up(response, rendered)));
                    }
                    let used = rendered.credential.fingerprint();
                    match replay.source.current().filter(|current| current.fingerprint() != used) {
                        Some(current) if replay.may_send() => State::Replaying(current),
                        Some(_) => return Poll::Ready(Ok(hand_up(response, rendered))),
                        None => State::Renewing {
                            renewed: replay.source.refused(&rendered.credential),
                            refusal: Some(response),
                            rendered: Arc::clone(rendered),
                        },
                    }
                }
                (StateProj::Renewing { renewed, refusal, rendered }, Some(replay)) => {
                    match ready!(renewed.as_mut().poll(cx)) {
                        Ok(Some(credential)) if replay.may_send() => State::Replaying(credential),
                        Ok(_) => {
                            let refusal = refusal.take().expect("taken once: a future is not polled after it is ready");
                            return Poll::Ready(Ok(hand_up(refusal, rendered)));
                        }
                        Err(error) => failed(&error),
                    }
                }
                (StateProj::Replaying(credential), Some(replay)) => {
                    ready!(replay.service.poll_ready(cx))?;
                    let request = replay.kept.take().expect(UNSENT).restore();
                    send(&mut replay.service, &replay.headers, request, credential.clone())
                }
                (_, None) => unreachable!("a request with a source has what a second sending takes"),
            };
            this.state.set(next);
        }
    }
}

/// Whether an answer says that the token is no good: a 401, or a 403 that names `invalid_token` as RFC 6750 has it.
fn refuses_token<B>(response: &Response<B>) -> bool {
    match response.status() {
        StatusCode::UNAUTHORIZED => !challenges(response).any(|challenge| has_error(challenge, "insufficient_scope")),
        StatusCode::FORBIDDEN => challenges(response).any(|challenge| has_error(challenge, "invalid_token")),
        _ => false,
    }
}

fn challenges<B>(response: &Response<B>) -> impl Iterator<Item = &str> {
    response.headers().get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok())
}

/// Whether a challenge has the parameter `error` with this value, quoted or not.
fn has_error(challenge: &str, value: &str) -> bool {
    challenge
        .split([',', ' ', '\t'])
        .filter_map(|part| part.split_once('='))
        .any(|(name, given)| name.eq_ignore_ascii_case("error") && given.trim_matches('"') == value)
}

fn hand_up<B>(mut response: Response<B>, rendered: &Rendered) -> Response<AnswerBody<B>> {
    rendered.remove_from(response.headers_mut());
    response.map(AnswerBody::inner)
}

impl<S, T, B> fmt::Debug for OAuthFuture<S, T, B>
where
    S: Service<Request<ReplayBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthFuture").finish_non_exhaustive()
    }
}
