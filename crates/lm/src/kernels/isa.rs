//! Which instructions the kernels use.

use crate::Error;

pub use cpu::Isa;
#[cfg(test)]
pub(crate) use cpu::on_every_isa;

impl From<cpu::NoSuchIsa> for Error {
    fn from(error: cpu::NoSuchIsa) -> Self {
        Error::Option { name: cpu::VARIABLE, reason: error.to_string() }
    }
}
