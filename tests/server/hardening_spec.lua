-- hardening_spec.lua -- the program is built with the protections that people expect of a C daemon.
--
-- readelf, which comes with the compiler, reads them from the program that is tested.

local process = require "support.process"

local PROGRAM = os.getenv("TIDEWIRE_BIN") or "build/debug/tidewire"

--- What readelf says of the program.
local function read(...)
  local result = process.run("readelf", { args = { "--wide", ..., PROGRAM } })
  assert.equal(0, result.code, result.stderr)
  return result.stdout
end

describe("the program", function()
  it("is loaded at a random address", function()
    assert.matches("Type:%s+DYN", read("--file-header"))
    assert.matches("FLAGS_1.*PIE", read("--dynamic"))
  end)

  it("resolves all functions at the start, and makes their table read-only", function()
    assert.matches("BIND_NOW", read("--dynamic"))
    assert.matches("GNU_RELRO", read("--program-headers"))
  end)

  it("has no memory that is both written and executed", function()
    local seen = 0
    for line in read("--program-headers"):gmatch("[^\n]+") do
      local kind, flags = line:match("^%s+([%u_]+)%s+0x.-%s([RWE ][RWE ][RWE ])%s+0x%x+$")
      if kind == "LOAD" or kind == "GNU_STACK" then
        seen = seen + 1
        assert.falsy(flags:find("W") and flags:find("E"), line)
      end
    end
    assert.is_true(seen > 2)
  end)

  it("looks for its libraries in the system's folders only", function()
    assert.not_matches("RPATH", read("--dynamic"))
    assert.not_matches("RUNPATH", read("--dynamic"))
  end)

  it("checks its stack, and copies in optimised code", function()
    local symbols = read("--dyn-syms")
    if symbols:find("__asan_init", 1, true) or symbols:find("__tsan_init", 1, true) then
      return pending("sanitizers check these in ways of their own")
    end
    assert.is_truthy(symbols:find("__stack_chk_fail", 1, true), "no canaries on the stack")
    local cache = process.read_file((os.getenv("TIDEWIRE_BUILD_DIR") or "build/debug")
      .. "/CMakeCache.txt")
    if cache and cache:find("CMAKE_BUILD_TYPE:%w+=Release") then
      assert.is_truthy(symbols:find("__memcpy_chk", 1, true), "copies are not checked")
    end
  end)
end)
