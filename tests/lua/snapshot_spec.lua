-- snapshot_spec.lua -- which files have changed between two looks, and which only seem to have.

local process = require "support.process"
local snapshot = require "tidewire.watch.snapshot"
local uv = require "luv"

local folder, before
local seconds -- each file is written a second later than the one before

local function write_at(path, text, when)
  process.write_file(path, text)
  assert(uv.fs_utime(path, when, when))
end

local function write(path, text)
  seconds = seconds + 1
  write_at(path, text, seconds)
end

--- `changed`, `gone`: lists of files.
local function check(old, sources, changed, gone)
  assert.same({ changed, gone or {} }, { snapshot.compare(old, snapshot.take(sources)) })
end

describe("snapshots", function()
  before_each(function()
    folder, before, seconds = process.make_directory(), uv.cwd(), 1000
    uv.chdir(folder)
  end)

  after_each(function()
    uv.chdir(before)
    process.remove_directory(folder)
  end)

  it("differ by files that are written, made and removed", function()
    local sources = "app.lua\nsub/part.lua\nmissing.lua\nsub/data"
    uv.fs_mkdir("sub", 493)
    for _, path in ipairs { "app.lua", "sub/part.lua", "sub/data", "other.lua" } do
      write(path, "1")
    end
    local old = snapshot.take(sources)
    check(old, sources, {})
    write("sub/part.lua", "2")
    check(old, sources, { "sub/part.lua" })
    for _, path in ipairs { "sub/data", "missing.lua", "other.lua" } do write(path, "2") end
    check(old, sources, { "missing.lua", "other.lua", "sub/data", "sub/part.lua" })
    old = snapshot.take(sources)
    assert(os.remove("app.lua"))
    assert(os.remove("other.lua")) -- no source
    check(old, sources, {}, { "app.lua" })
    write("new.lua", "1")
    check(old, sources, { "new.lua" }, { "app.lua" })
  end)

  it("leave out what editors put beside a file", function()
    write("app.lua", "1")
    local old = snapshot.take("app.lua")
    for _, name in ipairs { "app.lua~", "#app.lua#", "#app.lua", ".app.lua.swp", ".x.lua",
      "~app.lua", "4913", "app.lua.bak", "notes.txt", ".lua" } do
      write(name, "1")
    end
    assert(uv.fs_symlink("ada@host.1:2", ".#app.lua"))
    assert(uv.fs_mkdir("folder.lua", 493))
    assert(uv.fs_link("app.lua", "backup"))
    assert(uv.fs_chmod("app.lua", 416))
    check(old, "app.lua", {})
  end)

  it("differ by a link above a file that leads elsewhere", function()
    for _, name in ipairs { "one", "two" } do
      uv.fs_mkdir(name, 493)
      write_at(name .. "/app.lua", name, 5) -- of the same size and second
    end
    assert(uv.fs_symlink("one", "current"))
    local old = snapshot.take("current/app.lua")
    check(old, "current/app.lua", {})
    assert(uv.fs_symlink("two", "next"))
    assert(uv.fs_rename("next", "current"))
    check(old, "current/app.lua", { "current/app.lua" })
  end)

  it("carry the states of files over to other sources", function()
    write_at("app.lua", "1", 100)
    write_at("early.txt", "1", 100)
    write_at("late.txt", "1", 200)
    local old = snapshot.take("app.lua")
    local function carried(sources, from)
      local files = snapshot.take(sources)
      snapshot.carry_over(files, from, 150)
      return files
    end
    check(carried("app.lua\nearly.txt", old), "app.lua\nearly.txt", {})
    local sources = "app.lua\nearly.txt\nlate.txt" -- late.txt was written during the load
    check(carried(sources, old), sources, { "late.txt" })
    write_at("app.lua", "22", 120) -- its old state counts, not the present one
    check(carried("app.lua", old), "app.lua", { "app.lua" })
    check(carried("app.lua"), "app.lua", {})
  end)

  it("may have nothing", function()
    local old = snapshot.take("")
    check(old, "", {})
    check(old, "\n\n", {})
    check(old, "no/such/folder/x.lua", {})
  end)
end)
