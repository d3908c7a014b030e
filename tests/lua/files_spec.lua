-- files_spec.lua -- tw.read_file and tw.write_file: invalid arguments, defaults, and waiting.
-- tests/server/files_spec.lua uses real files.

local fake_core = require "support.fake_core"

local HERE = debug.getinfo(1, "S").short_src:gsub("%p", "%%%0")

local world, files
local begun, ended, results -- what C was asked for; which jobs it forgot; what came of each

before_each(function()
  world = fake_core:install()
  begun, ended, results = {}, {}, {}
  function world.core.file_read(task, path, max_bytes)
    table.insert(begun, { task = task, path = path, max_bytes = max_bytes })
    return #begun
  end
  function world.core.file_write(task, path, data, mode, append, in_place, fsync)
    table.insert(begun, {
      task = task, path = path, data = data, mode = mode, append = append, in_place = in_place,
      fsync = fsync,
    })
    return #begun
  end
  function world.core.file_result(job)
    if results[job] then return table.unpack(results[job], 1, 3) end
  end
  function world.core.file_end(job) table.insert(ended, job) end
  files = require "tidewire.files"
end)

after_each(function() world:uninstall() end)

--- Calls a function in a hook of its own, and returns what C was given.
local function asked(f, ...)
  local arguments = table.pack(...)
  local task = world:run(function() return f(table.unpack(arguments, 1, arguments.n)) end)
  assert(task.state == "waits", tostring((world.failures[1] or {}).value))
  return begun[#begun]
end

--- The message with which it throws, which must name the line that asked.
local function misuse(f, ...)
  local arguments, line = table.pack(...), nil
  local task = world:run(function()
    line = debug.getinfo(1, "l").currentline + 1
    f(table.unpack(arguments, 1, arguments.n))
  end)
  assert(task.state == "failed", "it was accepted")
  assert.equal(0, #begun)
  local at, text = world.failures[#world.failures].value:match("^" .. HERE .. ":(%d+): (.*)$")
  assert(at, "the error is not told at its caller: " .. world.failures[#world.failures].value)
  assert.equal(line, tonumber(at))
  return text
end

describe("tw.read_file", function()
  it("has a limit of 16 MiB by default", function()
    local got = asked(files.read, "a/b")
    assert.equal("a/b", got.path)
    assert.equal(16 << 20, got.max_bytes)
    assert.equal(1 << 20, asked(files.read, "a", { max_size = "1M" }).max_bytes)
    assert.equal(0, asked(files.read, "a", { max_size = 0 }).max_bytes)
  end)

  it("waits until there is a result, and forgets the job", function()
    local got
    local task = world:run(function() got = { files.read("a") } end)
    world.core.wake(begun[1].task)
    world:turn()
    assert.equal("waits", task.state)
    results[1] = { nil, "a: no", 2 }
    world.core.wake(begun[1].task)
    world:turn()
    assert.same({ nil, "a: no", 2 }, got)
    assert.same({ 1 }, ended)
  end)

  it("refuses what cannot be meant", function()
    assert.equal("tw.read_file: path must be a string, got nil", misuse(files.read))
    assert.equal("tw.read_file: path must be a string, got table", misuse(files.read, {}))
    assert.equal("tw.read_file: call it with a dot, tw.read_file(path)",
      misuse(files.read, require "tidewire", "a"))
    assert.equal('tw.read_file: path "a?b": it has a zero byte', misuse(files.read, "a\0b"))
    assert.equal("tw.read_file: options must be a table, got number", misuse(files.read, "a", 5))
    assert.equal('tw.read_file: unknown option "max_sise"; did you mean "max_size"?',
      misuse(files.read, "a", { max_sise = 5 }))
    assert.matches("^tw.read_file: max_size: expected a size in bytes",
      misuse(files.read, "a", { max_size = -1 }))
  end)
end)

describe("tw.write_file", function()
  it("replaces the file by default", function()
    assert.same({ task = begun[1] and 0 or asked(files.write, "a", "data").task, path = "a",
      data = "data", append = false, in_place = false, fsync = false }, begun[1])
    local got = asked(files.write, "a", "", { mode = "0640", fsync = true, atomic = false })
    assert.same({ 416, true, true }, { got.mode, got.fsync, got.in_place })
    assert.is_true(asked(files.write, "a", "", { append = true }).append)
  end)

  it("refuses what cannot be meant", function()
    assert.equal("tw.write_file: data must be a string, got nil", misuse(files.write, "a"))
    assert.equal("tw.write_file: data must be a string, got table; tw.json.encode makes one of a "
      .. "table", misuse(files.write, "a", {}))
    assert.equal("tw.write_file: append and atomic: only a whole file can be replaced at once",
      misuse(files.write, "a", "", { append = true, atomic = true }))
    for _, mode in ipairs { 600, "rw", "0888", "17777", "" } do
      assert.matches('^tw.write_file: mode: expected permissions as an octal text, such as "0600"',
        misuse(files.write, "a", "", { mode = mode }))
    end
  end)
end)
