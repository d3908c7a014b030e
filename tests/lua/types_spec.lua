-- types_spec.lua -- what is bound, typed and documented agrees, and scripts/check_api.lua sees it when
-- it does not: each case spoils one thing in a copy of the tree, and the real check must name it.

-- A sanitizer that is loaded for the sake of C modules has no business in other programs.
local function shell(command)
  local pipe = assert(io.popen("env -u LD_PRELOAD sh -c '" .. command .. "' 2>&1"))
  local output = pipe:read "a"
  return pipe:close() == true, output
end

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
end

describe("scripts/check_api.lua", function()
  local top

  setup(function()
    top = os.tmpname()
    os.remove(top)
    assert(shell(("mkdir -p %s/src/core && cp -r lua docs README.md %s && cp -r src/script %s/src && "
      .. "cp src/core/stats.h %s/src/core"):format(top, top, top, top)))
  end)

  teardown(function() assert(shell("rm -r " .. top)) end)

  it("is content with the tree as it is", function()
    local good, output = shell("lua5.4 scripts/check_api.lua " .. top)
    assert.equal("", output)
    assert.is_true(good)
  end)

  -- what, file, Lua pattern, replacement, what must be said
  local cases = {
    { "a C function that is not typed", "src/script/core_task.c", '{"wake", core_wake},', '%0 {"extra", core_wake},',
      "core.extra is bound in src/script, but not typed in lua/types/core.lua" },
    { "a C function that is gone", "src/script/core_task.c", '{"wake", core_wake},', "",
      "core.wake is typed in lua/types/core.lua, but not bound in src/script" },
    { "a C function in a comment only", "src/script/core_task.c", '{"wake", core_wake},', "/* %0 */",
      "core.wake is typed in lua/types/core.lua, but not bound" },
    { "a function of a C module that is not typed", "src/script/json_c.c", '{"array", array},', '%0 {"extra", array},',
      "json_c.extra is bound in src/script, but not typed" },
    { "a value that is set on the core", "src/script/vm.c", 'lua_setfield%(L, %-2, "senders"%);',
      '%0 lua_setfield(L, -2, "extra");', "core.extra is bound in src/script, but not typed" },
    { "a function of tw", "lua/tidewire/init.lua", "\nreturn tw", "\nfunction tw.extra() end%0",
      "tw.extra is bound in lua/tidewire/init.lua, but not typed in lua/types/tidewire.lua" },
    { "a function of tw that is not documented", "docs/scripting.md", "tw%.spawn", "tw.spwan",
      "tw.spawn is bound in lua/tidewire/init.lua, but not documented in docs/scripting.md" },
    { "a function of tw that there is not", "README.md", "\n", "\n`tw.nothing()`\n",
      "tw.nothing is documented in README.md, but not bound" },
    { "a method of conn", "lua/tidewire/conn.lua", "\nreturn Conn", "\nfunction methods.extra() end%0",
      "conn.extra is bound in lua/tidewire/conn.lua, but not typed" },
    { "a field of conn that is not typed", "lua/types/tidewire.lua", "%-%-%-@field rtt [^\n]+\n", "",
      "conn.rtt is bound in lua/tidewire/conn.lua, but not typed" },
    { "a method of conn that there is not", "lua/types/tidewire.lua", "\nfunction Conn:ping%(",
      "\nfunction Conn:pong() end%0", "conn.pong is typed in lua/types/tidewire.lua, but not bound" },
    { "a field of requests that is not documented", "docs/scripting.md", "request%.cookies", "request",
      "request.cookies is bound in lua/tidewire/request.lua, but not documented" },
    { "an option that is not typed", "lua/tidewire/options.lua", '{ name = "codec",',
      '{ name = "extra", type = "text" }, %0',
      "the handler's extra is bound in lua/tidewire/options.lua, but not typed" },
    { "an option that is not documented", "docs/configuration.md", "slow_client", "",
      "the handler's slow_client is bound in lua/tidewire/options.lua, but not documented in docs/configuration.md" },
    { "a hook that is not documented", "docs/scripting.md", "on_drain", "",
      "the hook on_drain is bound in lua/tidewire/options.lua, but not documented in docs/scripting.md" },
    { "a counter", "src/core/stats.h", "#define STATS_COUNTERS%(X%)[^\n]+", '%0\n    X(extra_things, "Things") \\',
      "tw.stats().extra_things is bound in src/core/stats.h or tw.stats, but not typed" },
  }
  for _, case in ipairs(cases) do
    local what, file, pattern, replacement, expected = table.unpack(case)
    it("sees " .. what, function()
      local path = top .. "/" .. file
      local before = read(path)
      local after, count = before:gsub(pattern, replacement)
      assert.is_true(count > 0, "nothing to spoil in " .. file)
      write(path, after)
      local good, output = shell("lua5.4 scripts/check_api.lua " .. top)
      write(path, before)
      assert.is_truthy(output:find(expected, 1, true), output)
      assert.is_false(good)
    end)
  end
end)
