//! A policy, its key, and running it over text.

use std::io::{self, Cursor, Read};

use custody::{DomainName, KeyVersion, MasterKey};
use pipeline::{
    Engine, Input, PipelineError, Plan, Rare, Report, SHUFFLE_MEMORY_BYTES, SpillFile, count_rare,
};
use policy::Policy;
use transform::RunSeed;

pub(crate) const RUN: RunSeed = RunSeed([9; 16]);

/// A policy with these top-level lines, sections and fields replaced or added.
pub(crate) fn policy(changes: &[(&str, &str)]) -> Policy {
    let mut text = include_str!("../fixtures/jobs.toml").to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    Policy::parse(&text).unwrap()
}

pub(crate) fn master(policy: &Policy) -> MasterKey {
    let fill = |bytes: &mut [u8]| {
        bytes.fill(3);
        Ok::<(), ()>(())
    };
    MasterKey::generate(DomainName::new(policy.domain.as_str()).unwrap(), KeyVersion::FIRST, fill).unwrap()
}

pub(crate) fn spill() -> io::Result<Box<dyn SpillFile>> {
    Ok(Box::new(Cursor::new(Vec::new())))
}

pub(crate) fn run_bytes(
    policy: &Policy,
    inputs: &[&[u8]],
    memory: usize,
) -> Result<(Report, Vec<u8>), PipelineError> {
    let master = master(policy);
    let rare = count_rare(policy, &master, inputs.iter().map(|input| Ok(Input::stream(*input))))?;
    let plan = Plan::new(policy, &master, RUN, rare)?;
    Engine::new(plan, memory).run(inputs.iter().map(|input| Input::stream(*input)), Vec::new(), &mut spill)
}

pub(crate) fn run(policy: &Policy, input: &str) -> Result<(Report, String), PipelineError> {
    let (report, output) = run_bytes(policy, &[input.as_bytes()], SHUFFLE_MEMORY_BYTES)?;
    Ok((report, String::from_utf8(output).unwrap()))
}

/// A reader that gives a byte or a few at a time.
pub(crate) struct Drip<'a>(pub(crate) &'a [u8], pub(crate) usize);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(self.0.len()).min(buffer.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

pub(crate) fn run_dripping(policy: &Policy, input: &[u8], step: usize) -> Result<Vec<u8>, PipelineError> {
    let master = master(policy);
    let plan = Plan::new(policy, &master, RUN, Rare::default())?;
    let engine = Engine::new(plan, SHUFFLE_MEMORY_BYTES);
    engine.run([Input::stream(Drip(input, step))], Vec::new(), &mut spill).map(|(_, output)| output)
}
