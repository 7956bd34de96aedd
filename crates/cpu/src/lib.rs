//! Which instructions the kernels use: found out once for the whole program, or set by the user.

use std::sync::OnceLock;

/// Environment variable that names the instructions to use, for tests and for comparisons.
pub const VARIABLE: &str = "TUNESMITH_KERNELS";

/// Instructions beyond what every processor of the target has. Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// What the compiler assumes of the target: SSE2 on x86-64, NEON on aarch64.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with products of eight-bit numbers (VNNI).
    Avx512Vnni,
    /// AVX-512 with products of bf16 numbers besides.
    Avx512Bf16,
}

/// The variable names a level that does not exist, or that this processor lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuchIsa(String);

impl std::fmt::Display for NoSuchIsa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoSuchIsa {}

static CHOSEN: OnceLock<Result<Isa, NoSuchIsa>> = OnceLock::new();

impl Isa {
    const ALL: [Self; 5] =
        [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Vnni, Self::Avx512Bf16];

    /// The level in use: the one that `TUNESMITH_KERNELS` names, else the best of this processor.
    ///
    /// # Errors
    /// The variable names a level that does not exist or that this processor lacks.
    pub fn chosen() -> Result<Self, NoSuchIsa> {
        Self::choice().clone()
    }

    #[inline]
    fn choice() -> &'static Result<Self, NoSuchIsa> {
        CHOSEN.get_or_init(|| match std::env::var_os(VARIABLE) {
            None => Ok(Self::detect()),
            Some(name) => Self::named(&name.to_string_lossy(), Self::detect()),
        })
    }

    /// What the kernels go by: [`Isa::chosen`], or portable instructions where the variable is
    /// wrong. Whatever loads weights asks for [`Isa::chosen`] first, and reports the fault.
    #[inline]
    pub fn current() -> Self {
        #[cfg(any(test, feature = "force"))]
        if let Some(isa) = FORCED.get() {
            return isa;
        }
        match Self::choice() {
            Ok(isa) => *isa,
            Err(_) => Self::Portable,
        }
    }

    /// The best level of this processor.
    pub fn detect() -> Self {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match () {
                () if !avx2 => Self::Portable,
                () if !avx512 => Self::Avx2,
                () if !is_x86_feature_detected!("avx512vnni") => Self::Avx512,
                () if !is_x86_feature_detected!("avx512bf16") => Self::Avx512Vnni,
                () => Self::Avx512Bf16,
            }
        }
        #[cfg(any(not(target_arch = "x86_64"), miri))]
        {
            Self::Portable
        }
    }

    /// The levels that this processor has, the simplest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::up_to(Self::detect())
    }

    fn up_to(best: Self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |isa| *isa <= best)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512vnni",
            Self::Avx512Bf16 => "avx512bf16",
        }
    }

    /// The level called `name` on a processor whose best is `best`.
    fn named(name: &str, best: Self) -> Result<Self, NoSuchIsa> {
        let found = Self::up_to(best).find(|isa| isa.name() == name);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::up_to(best).map(Self::name).collect();
            let why = if Self::ALL.iter().any(|isa| isa.name() == name) {
                "this processor does not have it"
            } else {
                "there is no such level"
            };
            NoSuchIsa(format!("expected {}; found `{name}`, but {why}", names.join(", ")))
        })
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(any(test, feature = "force"))]
thread_local! {
    static FORCED: std::cell::Cell<Option<Isa>> = const { std::cell::Cell::new(None) };
}

/// Runs `test` on every level that this processor has. A level holds for what `test` calls on its
/// own thread; products take theirs to the other threads.
#[cfg(any(test, feature = "force"))]
pub fn on_every_isa(test: impl Fn(Isa)) {
    for isa in Isa::available() {
        FORCED.set(Some(isa));
        test(isa);
    }
    FORCED.set(None);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn levels_are_found_by_name_and_never_above_the_processor() {
        assert_eq!(Isa::named("avx2", Isa::Avx512), Ok(Isa::Avx2));
        assert_eq!(Isa::named("portable", Isa::Portable), Ok(Isa::Portable));
        let missing = Isa::named("avx512", Isa::Avx2).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "expected portable, avx2; found `avx512`, but this processor does not have it"
        );
        let unknown = Isa::named("AVX2", Isa::Portable).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "expected portable; found `AVX2`, but there is no such level"
        );
    }

    #[test]
    fn every_level_can_be_forced() {
        let mut seen = Vec::new();
        let record = std::cell::RefCell::new(&mut seen);
        on_every_isa(|isa| {
            assert_eq!(Isa::current(), isa);
            record.borrow_mut().push(isa);
        });
        assert_eq!((seen.first(), seen.last()), (Some(&Isa::Portable), Some(&Isa::detect())));
    }
}
