//! Large pages for what is read all over the place.
//!
//! A walk goes from row to row of a table that no cache holds. In pages of 4 KiB nearly every row needs the page tables first,
//! which in a virtual machine are two deep.

/// Adds room for exactly so many more to a list, where the system lets it in large pages.
pub(super) fn reserve<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more);
        hint(list);
    }
}

/// As [`reserve`], and some to spare, so that adding one after the other takes linear time.
pub(super) fn grow<T>(list: &mut Vec<T>, more: usize) {
    reserve(list, if list.capacity() - list.len() < more { more.max(list.len()) } else { more });
}

/// Asks for large pages under a list, before anything is written to them.
#[cfg(all(target_os = "linux", not(miri)))]
fn hint<T>(list: &mut Vec<T>) {
    /// Bytes of a large page, where they are not larger still.
    const LARGE: usize = 2 << 20;
    let start = list.as_mut_ptr().cast::<u8>();
    let bytes = list.capacity() * size_of::<T>();
    let skipped = start.align_offset(LARGE);
    let whole = bytes.saturating_sub(skipped) / LARGE * LARGE;
    if whole > 0 {
        // SAFETY: `skipped + whole` is at most `bytes`, so all these pages are the list's alone; the hint changes nothing that is in
        // them. Where the system refuses it, they stay as they are.
        unsafe { libc::madvise(start.add(skipped).cast(), whole, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn hint<T>(_: &mut Vec<T>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_and_nothing_is_lost() {
        let mut list: Vec<u32> = Vec::new();
        for number in 0..3_000_000 {
            grow(&mut list, 1);
            list.push(number);
        }
        let room = list.capacity();
        reserve(&mut list, room - 3_000_000);
        assert_eq!(list.capacity(), room);
        assert!(list.iter().copied().eq(0..3_000_000));
        reserve(&mut list, 5_000_000);
        assert!(list.capacity() >= 8_000_000 && list.iter().copied().eq(0..3_000_000));
    }
}
