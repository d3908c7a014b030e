-- compression.lua -- the option `compression`: on, off, or a table of details.

---@type tidewire.SwitchableOption
return {
  defaults = { threshold = 1024, level = 4, context = false },
  fields = {
    { name = "threshold", type = "size", min = 0, max = 1 << 30 },
    { name = "level", type = "level" },
    { name = "context", type = "boolean" },
  },
  expected = "true, false or { threshold = bytes, level = 1 to 9, context = true or false }",
  expected_text = 'true, false or fields, as in "threshold=2K level=3 context=true"',
}
