use super::decode::Cursor;
use crate::provider::presets::{GateFlag, GateRule};

/// Whether a backend that uses another program's login may be used. It may not, unless someone says so.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Gate {
    /// What opens it.
    pub rule: &'static GateRule,
    /// The strongest word on it so far: what it was, and who said it.
    pub said: Option<(bool, GateSource)>,
}

/// Who may open a [`Gate`], the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateSource {
    /// The backend in the configuration file.
    Config,
    /// The backend's instance file.
    InstanceFile,
    /// The environment.
    Environment,
    /// The command line.
    CommandLine,
}

impl Gate {
    /// The gate, as the environment leaves it. What is wrong there is told at `at`.
    pub(super) fn decode(at: Cursor<'_>, rule: &'static GateRule) -> Self {
        let mut gate = Self { rule, said: None };
        if let GateRule::Flag(flag) = rule {
            gate.read_variable(at, flag);
        }
        gate
    }

    fn read_variable(&mut self, at: Cursor<'_>, flag: &GateFlag) {
        let value = at.context.environment.variable(flag.variable).unwrap_or_default();
        match value.trim().to_ascii_lowercase().as_str() {
            "" => {}
            "true" | "1" | "yes" | "on" => self.say(true, GateSource::Environment),
            "false" | "0" | "no" | "off" => self.say(false, GateSource::Environment),
            _ => {
                let error = at.error(format!("the environment variable `{}` is neither true nor false", flag.variable));
                at.report(error.label("opened by it").help("set it to `true` or `false`"));
            }
        }
    }

    /// Notes what a key of the backend says.
    pub(super) fn decode_word(&mut self, at: Cursor<'_>) {
        let source = if at.node.source == 0 { GateSource::Config } else { GateSource::InstanceFile };
        if let Some(open) = at.bool() {
            self.say(open, source);
        }
    }

    /// Notes what a source says. A weaker source does not overrule a stronger one.
    pub fn say(&mut self, open: bool, source: GateSource) {
        if self.said.is_none_or(|(_, earlier)| source >= earlier) {
            self.said = Some((open, source));
        }
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        matches!(self.said, Some((true, _)))
    }

    /// Why it is closed, and what opens it.
    pub fn reason(&self, backend: &str) -> String {
        format!("the backend `{backend}` is disabled: {}; {} to enable it", self.closed_by(), self.remedy(backend))
    }

    /// What opens it, as an instruction: ``start with `--flag` ``.
    pub fn remedy(&self, backend: &str) -> String {
        match self.rule {
            GateRule::Flag(flag) => format!("start with `--{}`", flag.flag),
            GateRule::Terms => format!("set `backends.{backend}.accept_terms: true`"),
        }
    }

    /// The flag that opens it, as on the command line, without the dashes.
    pub fn flag(&self) -> Option<&'static str> {
        match self.rule {
            GateRule::Flag(flag) => Some(flag.flag),
            GateRule::Terms => None,
        }
    }

    pub(super) fn closed_by(&self) -> &'static str {
        match (self.said, self.rule) {
            (None, GateRule::Flag(_)) => "nothing has enabled it",
            (Some((_, GateSource::Config)), GateRule::Flag(_)) => "`extra` in the configuration keeps it closed",
            (Some((_, GateSource::InstanceFile)), GateRule::Flag(_)) => "`extra` in its instance file keeps it closed",
            (_, GateRule::Terms) => "it uses another program's login, and nobody has accepted its terms",
            (Some((_, GateSource::Environment)), _) => "the environment keeps it closed",
            (Some((_, GateSource::CommandLine)), _) => "the command line keeps it closed",
        }
    }
}
