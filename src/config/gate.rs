use super::decode::Cursor;
use crate::provider::presets::GateFlag;

/// Whether a backend that uses another program's login may be used. It may not, unless someone says so.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Gate {
    /// The flag that opens it, as on the command line, without the dashes.
    pub flag: &'static str,
    /// The strongest word on it so far: what it was, and who said it.
    pub said: Option<(bool, GateSource)>,
}

/// Who may open a [`Gate`], the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateSource {
    /// `extra` of the backend in the configuration file.
    Config,
    /// `extra` of the backend's instance file.
    InstanceFile,
    /// The environment.
    Environment,
    /// The command line.
    CommandLine,
}

impl Gate {
    /// The gate, as the environment leaves it. What is wrong there is told at `at`.
    pub(super) fn decode(at: Cursor<'_>, preset: &GateFlag) -> Self {
        let mut gate = Self { flag: preset.flag, said: None };
        let value = at.context.environment.variable(preset.variable).unwrap_or_default();
        match value.trim().to_ascii_lowercase().as_str() {
            "" => {}
            "true" | "1" | "yes" | "on" => gate.say(true, GateSource::Environment),
            "false" | "0" | "no" | "off" => gate.say(false, GateSource::Environment),
            _ => {
                let error =
                    at.error(format!("the environment variable `{}` is neither true nor false", preset.variable));
                at.report(error.label("opened by it").help("set it to `true` or `false`"));
            }
        }
        gate
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
        format!("the backend `{backend}` is disabled: {}; start with `--{}` to enable it", self.closed_by(), self.flag)
    }

    pub(super) fn closed_by(&self) -> &'static str {
        match self.said {
            None => "nothing has enabled it",
            Some((_, GateSource::Config)) => "`extra` in the configuration keeps it closed",
            Some((_, GateSource::InstanceFile)) => "`extra` in its instance file keeps it closed",
            Some((_, GateSource::Environment)) => "the environment keeps it closed",
            Some((_, GateSource::CommandLine)) => "the command line keeps it closed",
        }
    }
}
