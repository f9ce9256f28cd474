//! A WASI reactor in Rust with its standard library: printing, clock, chance, panics.

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

struct Shared(UnsafeCell<(Vec<u64>, Vec<u8>)>);
unsafe impl Sync for Shared {}

/// The exchange buffer, in words so that it is aligned, and the latest result.
static SHARED: Shared = Shared(UnsafeCell::new((Vec::new(), Vec::new())));

fn shared() -> &'static mut (Vec<u64>, Vec<u8>) {
    unsafe { &mut *SHARED.0.get() }
}

fn give(bytes: Vec<u8>) -> u64 {
    shared().1 = bytes;
    let result = &shared().1;
    (result.as_ptr() as u64) << 32 | result.len() as u64
}

#[no_mangle]
pub extern "C" fn ph_abi_version() -> i32 {
    1
}

#[no_mangle]
pub extern "C" fn ph_alloc(size: u32) -> *mut u64 {
    shared().0 = vec![0; size as usize / 8 + 1];
    shared().0.as_mut_ptr()
}

#[no_mangle]
pub extern "C" fn on_request(length: u32) -> u64 {
    print!("a record of {length} ");
    println!("bytes");
    let start = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    eprintln!("in year {}", 1970 + now / 31_556_952);
    assert!(std::fs::read("/etc/passwd").is_err());
    assert!(std::env::vars().next().is_none());
    assert!(start.elapsed() < Duration::from_secs(10));
    // The order of a HashMap comes from WASI's random numbers.
    let chance: HashMap<u8, ()> = (0..64).map(|n| (n, ())).collect();
    let digits: String = chance.keys().take(16).map(|n| format!("{n:02x}")).collect();

    let value = format!("rust {now} {digits}");
    let name = b"x-guest";
    let mut list = vec![1, 3, 0, 0, 1, 0, name.len() as u8, 0, value.len() as u8, 0, 0, 0];
    list.extend_from_slice(name);
    list.extend_from_slice(value.as_bytes());
    give(list)
}

#[no_mangle]
pub extern "C" fn leave(code: u32) -> u64 {
    std::process::exit(code as i32)
}

#[no_mangle]
pub extern "C" fn wait(length: u32) -> u64 {
    let bytes = shared().0.iter().flat_map(|word| word.to_le_bytes());
    let text: Vec<u8> = bytes.take(length as usize).collect();
    let milliseconds = String::from_utf8(text).unwrap().parse().expect("a number");
    std::thread::sleep(Duration::from_millis(milliseconds));
    give(milliseconds.to_string().into_bytes())
}
