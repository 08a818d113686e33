const roleNames = { viewer: "reads", commenter: "reads and chats", editor: "edits", owner: "owns" };
const muteTime = 300;
const removeTime = 3600;

/** Who is in the room, and what an owner may do about it. */
export class People {
  /** @param elements `dialog`, `list`, `access`, `accessForm` */
  constructor({ elements, room, user, hueOf }) {
    Object.assign(this, { ...elements, room, user, hueOf });
    this.members = new Map();
    this.abort = new AbortController();
    const on = (target, type, listener) => target.addEventListener(type, listener, { signal: this.abort.signal });
    on(this.access, "change", () => room.send({ type: "configure", access: this.access.value }));
    on(room, "standing", () => this.draw());
  }

  close() {
    this.abort.abort();
    this.dialog.close();
  }

  open() {
    this.draw();
    this.dialog.showModal();
  }

  update(members, role, access) {
    this.members = members;
    this.role = role;
    this.access.value = access;
    if (this.dialog.open) this.draw();
  }

  draw() {
    this.accessForm.hidden = this.role !== "owner";
    const people = new Map([...this.members.values()].map((member) => [member.user, member]));
    const focused = document.activeElement?.dataset.control;
    this.list.replaceChildren(...[...people.values()].sort((a, b) => a.name.localeCompare(b.name)).map((member) => this.item(member)));
    // Drawn anew while it is used: the same control stays the one in use.
    if (focused) this.list.querySelector(`[data-control="${CSS.escape(focused)}"]`)?.focus();
  }

  item({ user, name, role }) {
    const item = document.createElement("li");
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.setProperty("--hue", this.hueOf(user));
    const label = document.createElement("span");
    label.className = "name";
    const note = document.createElement("small");
    const isSelf = user === this.user.id;
    note.textContent = isSelf ? `you, ${roleNames[role]}` : roleNames[role];
    label.append(name, note);
    item.append(swatch, label);
    if (this.role === "owner" && !isSelf && role !== "owner") item.append(...this.controls(user, name, role));
    return item;
  }

  controls(user, name, role) {
    const select = document.createElement("select");
    select.setAttribute("aria-label", `What ${name} may do`);
    select.dataset.control = `role ${user}`;
    for (const [value, text] of Object.entries(roleNames)) select.add(new Option(text, value, value === role, value === role));
    select.addEventListener("change", () => this.room.send({ type: "grant", user, role: select.value }));
    const button = (text, type, seconds) => {
      const control = document.createElement("button");
      control.type = "button";
      control.className = "quiet";
      control.textContent = text;
      control.dataset.control = `${type} ${user}`;
      control.setAttribute("aria-label", `${text}: ${name}`);
      control.addEventListener("click", () => this.room.send({ type, user, seconds }));
      return control;
    };
    return [select, button("Mute 5 min", "mute", muteTime), button("Remove", "kick", removeTime)];
  }
}
