-- control.lua -- seeds of fuzz_control: the side, then messages with their descriptors.

local function message(text, fds)
  return string.char(fds or 0) .. string.pack("s1", text)
end

local SERVER, NEW = "\0", "\1"
local WITH_NO_SOCKET = 2 | 1 << 3 -- two descriptors, of which the first is no socket

return {
  upgrade = SERVER .. message("tidewire 1") .. message("ready"),
  reload = SERVER .. message("reload 1") .. "\0",
  reload_failed = SERVER .. message("reload 1") .. "\1",
  unknown = SERVER .. message("tidewire 2"),
  twice = SERVER .. message("tidewire 1") .. message("tidewire 1"),
  fds = SERVER .. message("tidewire 1", 3) .. message("ready", 2),
  long = SERVER .. message(("x"):rep(120)),
  sockets = NEW .. message("address 0 0 0", 2) .. message("address 1 1 0", 1) .. message("end")
    .. "\1" .. message("yours"),
  busy = NEW .. message("busy"),
  no_socket = NEW .. message("address 0 0 0", WITH_NO_SOCKET) .. message("end"),
  early = NEW .. message("end") .. "\1" .. message("address 0 0 0", 1),
  malformed = NEW .. message("address 0 0", 6) .. message("address 99999999999 0 0", 1),
}
