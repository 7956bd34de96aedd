//! Large pages for what is read all over the place.
//!
//! A walk goes from row to row of a table that no cache holds. In pages of 4 KiB nearly every row
//! needs the page tables first, which in a virtual machine are two deep.

/// Adds room for exactly so many more to a list, where the system lets it in large pages.
pub(super) fn reserve<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        // What grows in its place keeps the pages it has.
        let mut larger = Vec::new();
        larger.reserve_exact(list.len() + more);
        hint(&mut larger);
        larger.append(list);
        *list = larger;
    }
}

/// As [`reserve`], and some to spare, so that adding one after the other takes linear time.
pub(super) fn grow<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        reserve(list, more.max(list.len()));
    }
}

/// Asks for large pages under an empty list, before anything is written to them.
#[cfg(all(target_os = "linux", not(miri)))]
fn hint<T>(list: &mut Vec<T>) {
    /// Bytes of a large page, where they are not larger still.
    const LARGE: usize = 2 << 20;
    let start = list.as_mut_ptr().cast::<u8>();
    let bytes = list.capacity() * size_of::<T>();
    let skipped = start.align_offset(LARGE);
    let whole = bytes.saturating_sub(skipped) / LARGE * LARGE;
    if whole > 0 {
        // SAFETY: `skipped + whole` is at most `bytes`, so all these pages are the list's alone;
        // the hint changes nothing that is in them. Where the system refuses it, they stay as they
        // are.
        unsafe { libc::madvise(start.add(skipped).cast(), whole, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn hint<T>(_: &mut Vec<T>) {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lists_grow_in_few_steps_and_lose_nothing() {
        let mut list: Vec<u32> = Vec::new();
        let (mut steps, mut room) = (0, 0);
        for number in 0..3_000_000 {
            grow(&mut list, 1);
            assert!(list.capacity() > list.len());
            steps += usize::from(list.capacity() != room);
            room = list.capacity();
            list.push(number);
        }
        assert!(steps < 30, "{steps}");
        reserve(&mut list, room - 3_000_000);
        assert_eq!(list.capacity(), room);
        reserve(&mut list, 5_000_000);
        assert_eq!(list.capacity(), 8_000_000);
        assert!(list.iter().copied().eq(0..3_000_000));
    }

    /// Where the system has large pages, the middle of a list is in a range that is marked for
    /// them, after it has grown too.
    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn the_system_is_asked_for_large_pages() {
        if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            eprintln!("this system has no large pages");
            return;
        }
        let mut list = vec![7u64; 1 << 20];
        for more in [1 << 20, 2 << 20] {
            grow(&mut list, more);
            list.resize(list.len() + more, 7);
            let at = &raw const list[list.len() / 2] as usize;
            assert!(marked(at), "{more}");
        }
        let other = 0u8;
        assert!(!marked(&raw const other as usize));
    }

    /// Whether the pages at an address are marked for large ones.
    #[cfg(all(target_os = "linux", not(miri)))]
    fn marked(address: usize) -> bool {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut within = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let number = |hex: &str| usize::from_str_radix(hex, 16).ok();
            if let Some((from, to)) =
                range.and_then(|(from, to)| Some((number(from)?, number(to)?)))
            {
                within = (from..to).contains(&address);
            }
            if within && let Some(flags) = line.strip_prefix("VmFlags:") {
                return flags.split(' ').any(|flag| flag == "hg");
            }
        }
        false
    }
}
