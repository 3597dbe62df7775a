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
    /// A closed gate.
    pub(crate) fn new(flag: &'static str) -> Self {
        Self { flag, said: None }
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
        let who = match self.said {
            None => "nothing has enabled it",
            Some((_, GateSource::Config)) => "`extra` in the configuration keeps it closed",
            Some((_, GateSource::InstanceFile)) => "`extra` in its instance file keeps it closed",
            Some((_, GateSource::Environment)) => "the environment keeps it closed",
            Some((_, GateSource::CommandLine)) => "the command line keeps it closed",
        };
        format!("the backend `{backend}` is disabled: {who}; start with `--{}` to enable it", self.flag)
    }
}
