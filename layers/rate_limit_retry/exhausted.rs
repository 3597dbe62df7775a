use std::fmt;

/// The words by which a provider says that waiting will not help: a quota is used up, or a bill is unpaid.
///
/// It is judged by these words, not by codes, because providers use the same codes for limits that heal within a
/// minute. The constants are for the providers that publish theirs; [`Exhausted::new`] takes your own.
///
/// ```
/// use pointsman_layers::rate_limit_retry::Exhausted;
///
/// // One provider's billing limit is another's limit per minute.
/// let body = r#"{"error": {"code": "insufficient_quota"}}"#;
/// assert!(Exhausted::OPENAI.is_said_by(body));
/// assert!(!Exhausted::DASHSCOPE.is_said_by(body));
///
/// const MINE: Exhausted = Exhausted::new(&[&["prepaid", "used up"], &["account closed"]]);
/// assert!(MINE.is_said_by("Your PREPAID units are used up."));
/// ```
#[derive(Clone, Copy)]
pub struct Exhausted {
    /// Any of these, each of them all of its phrases.
    rules: &'static [&'static [&'static str]],
}

impl Exhausted {
    /// For providers of which nothing is known but that they speak OpenAI's API.
    pub const GENERIC: Self = Self::new(&[&["insufficient_quota"], &["insufficient balance"]]);
    /// OpenAI: the words of an empty billing account.
    pub const OPENAI: Self = Self::new(&[&["insufficient_quota"], &["exceeded your current quota"]]);
    /// Alibaba's DashScope and Qwen: the free quota or an unpaid bill. OpenAI's words mean a limit per minute here.
    pub const DASHSCOPE: Self = Self::new(&[
        &["free allocated quota exceeded"],
        &["freetieronly"],
        &["arrearage"],
        &["billoverdue"],
        &["commoditynotpurchased"],
    ]);
    /// Google: a quota per day, or one that is zero. Its message for limits per minute has OpenAI's billing words.
    pub const GOOGLE: Self = Self::new(&[&["quotaid", "perday"], &["limit: 0"]]);
    /// Anthropic: an account that cannot pay.
    pub const ANTHROPIC: Self = Self::new(&[&["billing_error"], &["credit balance is too low"]]);
    /// GitHub Copilot: the allowance of the month.
    pub const GITHUB: Self = Self::new(&[&["quota_exceeded"]]);

    /// A provider that says so by any of `rules`, each of which is a list of phrases that must all be there.
    ///
    /// Phrases are written in lower case and found in any case. A digit at the end of a phrase is a whole number's.
    pub const fn new(rules: &'static [&'static [&'static str]]) -> Self {
        Self { rules }
    }

    /// Whether the body of a rate-limit answer says so.
    pub fn is_said_by(&self, body: &str) -> bool {
        self.is_said_in_lower_case_by(&body.to_ascii_lowercase())
    }

    pub(super) fn is_said_in_lower_case_by(&self, text: &str) -> bool {
        self.rules.iter().any(|rule| rule.iter().all(|phrase| contains(text, phrase)))
    }
}

fn contains(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(at, _)| {
        let after = text[at + phrase.len()..].strip_prefix('.').unwrap_or(&text[at + phrase.len()..]);
        !(ends_with_digit(phrase) && after.starts_with(|c: char| c.is_ascii_digit()))
    })
}

fn ends_with_digit(phrase: &str) -> bool {
    phrase.ends_with(|c: char| c.is_ascii_digit())
}

impl Default for Exhausted {
    fn default() -> Self {
        Self::GENERIC
    }
}

impl fmt::Debug for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exhausted").field(&self.rules).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_has_its_own_words() {
        let qwen_day = r#"{"error":{"code":"insufficient_quota","message":"Free allocated quota exceeded."}}"#;
        let billing = r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}"#;
        let google_day = r#"[{"error":{"details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}}]"#;
        let google_minute = r#"{"error":{"message":"You exceeded your current quota","details":[{"violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel"}]}]}}"#;
        let throttled = r#"{"error":{"message":"Requests rate limit exceeded, please try again later."}}"#;
        for (name, provider, text, expected) in [
            ("qwen's day", Exhausted::DASHSCOPE, qwen_day, true),
            ("qwen's minute", Exhausted::DASHSCOPE, billing, false),
            ("qwen, throttled", Exhausted::DASHSCOPE, throttled, false),
            ("unpaid", Exhausted::DASHSCOPE, r#"{"code":"Arrearage"}"#, true),
            ("prepaid bill", Exhausted::DASHSCOPE, r#"{"code":"PrepaidBillOverdue"}"#, true),
            ("postpaid bill", Exhausted::DASHSCOPE, r#"{"code":"PostpaidBillOverdue"}"#, true),
            ("not bought", Exhausted::DASHSCOPE, r#"{"code":"CommodityNotPurchased"}"#, true),
            ("free tier", Exhausted::DASHSCOPE, r#"{"code":"AllocationQuota.FreeTierOnly"}"#, true),
            ("openai's billing", Exhausted::OPENAI, billing, true),
            ("openai's code alone", Exhausted::OPENAI, r#"{"error":{"code":"insufficient_quota"}}"#, true),
            ("openai's words alone", Exhausted::OPENAI, "You exceeded your current quota", true),
            ("openai, throttled", Exhausted::OPENAI, "Rate limit reached, try again in 20s", false),
            ("google's day", Exhausted::GOOGLE, google_day, true),
            ("google's minute", Exhausted::GOOGLE, google_minute, false),
            ("no free tier", Exhausted::GOOGLE, "free_tier_requests, limit: 0, model: gemini-3-pro", true),
            ("no free tier, at the end", Exhausted::GOOGLE, "free_tier_requests, limit: 0.", true),
            ("limit of ten", Exhausted::GOOGLE, "free_tier_requests, limit: 10", false),
            ("limit below one", Exhausted::GOOGLE, "limit: 0.5", false),
            ("limit that looks like zero", Exhausted::GOOGLE, "limit: 05", false),
            ("copilot's month", Exhausted::GITHUB, r#"{"error":{"code":"quota_exceeded"}}"#, true),
            ("copilot, throttled", Exhausted::GITHUB, r#"{"error":{"code":"rate_limited"}}"#, false),
            ("anthropic's billing", Exhausted::ANTHROPIC, r#"{"error":{"type":"billing_error"}}"#, true),
            ("anthropic, throttled", Exhausted::ANTHROPIC, r#"{"error":{"type":"rate_limit_error"}}"#, false),
            ("unknown, billing", Exhausted::GENERIC, billing, true),
            ("unknown, google's minute", Exhausted::GENERIC, google_minute, false),
            ("nothing said", Exhausted::GENERIC, "", false),
        ] {
            assert_eq!(provider.is_said_by(text), expected, "{name}");
        }
    }
}
