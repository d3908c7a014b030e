-- man_spec.lua -- scripts/check_man.lua sees when the help, the manual page and the options part: each case spoils one
-- thing in a copy, and the real check must name it.

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

describe("scripts/check_man.lua", function()
  local top

  setup(function()
    top = os.tmpname()
    os.remove(top)
    assert(shell(("mkdir -p %s/src/server %s/man && cp src/server/settings.c src/server/help.c %s/src/server && "
      .. "cp man/tidewire.1 %s/man"):format(top, top, top, top)))
  end)

  teardown(function() assert(shell("rm -r " .. top)) end)

  it("is content with the tree as it is", function()
    local good, output = shell("lua5.4 scripts/check_man.lua " .. top)
    assert.equal("", output)
    assert.is_true(good)
  end)

  -- what, file, Lua pattern, replacement, what must be said
  for _, case in ipairs {
    { "a new option", "src/server/settings.c", '{"%-%-watch", NULL', '{"--new-one", NULL, false, BY(set_watch)}, %0',
      "the option --new-one is in src/server/settings.c, but not in src/server/help.c" },
    { "an option that the help lacks", "src/server/help.c", "  %-%-watch ", "  ",
      "the option --watch is in src/server/settings.c, but not in src/server/help.c" },
    { "an option that the page lacks", "man/tidewire.1", "\\%-\\%-watch", "watch",
      "the option --watch is in src/server/help.c, but not in man/tidewire.1" },
    { "an option that there is not", "man/tidewire.1", "\\%-\\%-watch", "\\-\\-wtach",
      "the option --wtach is in man/tidewire.1, but not in src/server/help.c" },
    { "a variable", "man/tidewire.1", "TIDEWIRE_PID_FILE", "TIDEWIRE_PIDFILE",
      "the variable TIDEWIRE_PID_FILE is in src/server/help.c, but not in man/tidewire.1" },
    { "a signal", "man/tidewire.1", "SIGUSR1", "SIGUSR2",
      "the signal SIGUSR2 is in man/tidewire.1, but not in src/server/help.c" },
    { "a new command", "src/server/settings.c", '{"run", ', '{"walk", ACTION_RUN}, %0',
      "the command walk is in src/server/settings.c, but not in man/tidewire.1" },
    { "a command that the help lacks", "src/server/help.c", "  check    loads", "  loads",
      "the command check is in src/server/settings.c, but not in src/server/help.c" },
  } do
    local what, file, pattern, replacement, expected = table.unpack(case)
    it("sees " .. what, function()
      local path = top .. "/" .. file
      local before = read(path)
      local after, count = before:gsub(pattern, replacement)
      assert.is_true(count > 0, "nothing to spoil in " .. file)
      write(path, after)
      local good, output = shell("lua5.4 scripts/check_man.lua " .. top)
      write(path, before)
      assert.is_truthy(output:find(expected, 1, true), output)
      assert.is_false(good)
    end)
  end
end)
