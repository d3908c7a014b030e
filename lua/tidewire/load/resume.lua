-- resume.lua -- the option `resume`: sessions, or none, or a table of their limits.

---@type tidewire.SwitchableOption
return {
  defaults = { seconds = 60, messages = 1000, bytes = 256 << 10, sessions = 10000 },
  fields = {
    { name = "seconds", type = "seconds", positive = true },
    { name = "messages", type = "count" },
    { name = "bytes", type = "size", min = 1, max = 1 << 40 },
    { name = "sessions", type = "count" },
  },
  expected = 'true, false or { seconds = 60, messages = 1000, bytes = "256K", sessions = 10000 }',
  expected_text = 'true, false or fields, as in "seconds=60 bytes=256K"',
}
