//! Low-bit weights as panels of bf16, for products of many rows: a panel at a time, so that
//! they never exist whole.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::panels_avx512;
use super::{Bits, GROUP, LowBit};
use crate::kernels::Isa;
use crate::kernels::bf16::{convert_row, halves};

impl LowBit {
    /// `(inputs, outputs)`.
    pub(in crate::kernels) fn shape(&self) -> (usize, usize) {
        (self.inputs, self.outputs)
    }

    /// Writes output `output`, `inputs` weights, to `out`.
    pub(in crate::kernels) fn row(&self, output: usize, out: &mut [f32]) {
        let (blocks, groups) = (self.inputs / self.bits.inputs(), self.inputs / GROUP);
        assert!(
            output < self.outputs && out.len() == self.inputs,
            "output {output} of {}",
            self.outputs
        );
        let codes = &self.codes[output * blocks..][..blocks];
        let scales = &self.scales[output * groups..][..groups];
        let offsets = &self.offsets[output * groups..][..groups];
        for (at, out) in out.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
            let (scale, offset) = (scales[at], offsets[at]);
            let (codes, shift, mask) = match self.bits {
                Bits::Four => (&codes[at / 2], 4 * (at % 2), 0xF),
                Bits::Eight => (&codes[at], 0, 0xFF),
            };
            for (out, code) in out.iter_mut().zip(codes) {
                *out = scale * f32::from(code >> shift & mask) + offset;
            }
        }
    }

    /// As [`row`](Self::row), rounded to bf16 as panels hold it.
    pub(in crate::kernels) fn rounded_row(&self, output: usize, out: &mut [f32]) {
        self.row(output, out);
        let mut pairs = vec![0; self.inputs / 2];
        convert_row(Isa::current(), out, &mut pairs);
        for (out, pair) in out.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
            *out = halves(pair).into();
        }
    }

    /// Packs the outputs from `first` on as one panel of `width` columns, a multiple of 16: `out`
    /// becomes `[pair of inputs, width]`, zero where there is no output.
    pub(in crate::kernels) fn panel(&self, isa: Isa, first: usize, width: usize, out: &mut [u32]) {
        let depth = self.inputs / 2;
        assert!(
            out.len() == depth * width && width.is_multiple_of(16),
            "a panel of {width} columns"
        );
        #[cfg(target_arch = "x86_64")]
        if isa >= Isa::Avx512Bf16 {
            // SAFETY: a level is only chosen on a processor that has its instructions; the size is
            // asserted.
            return unsafe { panels_avx512::panel(self, first, width, out) };
        }
        let (mut row, mut pairs) = (vec![0.0; self.inputs], vec![0; depth]);
        for column in 0..width {
            if first + column < self.outputs {
                self.row(first + column, &mut row);
                convert_row(isa, &row, &mut pairs);
            } else {
                pairs.fill(0);
            }
            out.iter_mut()
                .skip(column)
                .step_by(width)
                .zip(&pairs)
                .for_each(|(slot, &pair)| *slot = pair);
        }
    }

    /// Packs a piece of the transpose as one panel: the outputs `rows` by the `width` inputs from
    /// `first`, multiples of 16. `out` becomes `[pair of rows, width]`, zero where there is no
    /// input or no second row.
    pub(in crate::kernels) fn transposed_panel(
        &self,
        isa: Isa,
        rows: Range<usize>,
        first: usize,
        width: usize,
        out: &mut [u32],
    ) {
        assert!(first.is_multiple_of(16) && width.is_multiple_of(16) && rows.end <= self.outputs);
        assert_eq!(out.len(), rows.len().div_ceil(2) * width, "a panel of {width} columns");
        #[cfg(target_arch = "x86_64")]
        if isa >= Isa::Avx512Bf16 {
            // SAFETY: a level is only chosen on a processor that has its instructions; the rest is
            // asserted.
            return unsafe { panels_avx512::transposed_panel(self, rows, first, width, out) };
        }
        let (mut row, mut pairs) = (vec![0.0; self.inputs], vec![0u32; self.inputs / 2]);
        out.fill(0);
        for (index, output) in rows.enumerate() {
            self.row(output, &mut row);
            convert_row(isa, &row, &mut pairs);
            let line = &mut out[index / 2 * width..][..width];
            for (two, &pair) in line.as_chunks_mut::<2>().0.iter_mut().zip(&pairs[first / 2..]) {
                for (slot, half) in two.iter_mut().zip([pair & 0xFFFF, pair >> 16]) {
                    *slot |= half << (16 * (index % 2));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::weights;
    use super::*;
    use crate::kernels::MatRef;
    use crate::kernels::bf16::Panels;
    use crate::kernels::isa::on_every_isa;

    #[test]
    fn panels_of_both_directions_are_those_of_the_weights_in_f32() {
        for (bits, outputs, inputs) in [
            (Bits::Four, 5, 64),
            (Bits::Four, 131, 576),
            (Bits::Eight, 3, 32),
            (Bits::Eight, 70, 1120),
        ] {
            let packed = LowBit::pack(&weights(outputs * inputs, bits), outputs, inputs).unwrap();
            assert_eq!(packed.bits, bits);
            let mut exact = vec![0.0; outputs * inputs];
            exact.chunks_mut(inputs).enumerate().for_each(|(output, row)| packed.row(output, row));
            on_every_isa(|isa| {
                let expected = Panels::transposed(MatRef::new(&exact, outputs, inputs));
                let width = Panels::width(outputs);
                let mut panel = vec![9; inputs / 2 * width];
                for index in 0..outputs.div_ceil(width) {
                    packed.panel(isa, index * width, width, &mut panel);
                    assert_eq!(panel, expected.panel(index), "{bits:?}, {isa}, panel {index}");
                }
                let width = Panels::width(inputs);
                for rows in [0..outputs, 0..outputs.min(48), outputs / 96 * 48..outputs] {
                    for first in (0..inputs).step_by(width) {
                        let mut panel = vec![9; rows.len().div_ceil(2) * width];
                        let mut other = vec![7; panel.len()];
                        packed.transposed_panel(isa, rows.clone(), first, width, &mut panel);
                        expected.transposed_panel(isa, rows.clone(), first, width, &mut other);
                        assert_eq!(
                            panel, other,
                            "{bits:?}, {isa}, outputs {rows:?}, inputs from {first}"
                        );
                    }
                }
                let (mut row, mut other) = (vec![0.0; inputs], vec![1.0; inputs]);
                packed.rounded_row(outputs - 1, &mut row);
                expected.column(outputs - 1, &mut other);
                assert_eq!(row, other);
            });
        }
    }
}
