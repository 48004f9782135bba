// Signing in and adding a passkey, by <button data-passkey="signin" hidden> and data-passkey="register".
// Begin answers {publicKey: {...}}; finish takes the credential and answers {next: "/where"} to go there,
// or {code, message}, the message in plain words.

const WAYS = {
  signin: { begin: "/signin/passkey/begin", finish: "/signin/passkey/finish" },
  register: { begin: "/me/passkeys/begin", finish: "/me/passkeys/finish" },
};

const RESPONSE_PARTS = [
  "clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle",
];

function toBytes(base64url) {
  const plain = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

function toText(buffer) {
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const bytesOfIds = (list) => (list ?? []).map((entry) => ({ ...entry, id: toBytes(entry.id) }));

function creationOptions(json) {
  if (PublicKeyCredential.parseCreationOptionsFromJSON) {
    return PublicKeyCredential.parseCreationOptionsFromJSON(json);
  }
  return {
    ...json,
    challenge: toBytes(json.challenge),
    user: { ...json.user, id: toBytes(json.user.id) },
    excludeCredentials: bytesOfIds(json.excludeCredentials),
  };
}

function requestOptions(json) {
  if (PublicKeyCredential.parseRequestOptionsFromJSON) {
    return PublicKeyCredential.parseRequestOptionsFromJSON(json);
  }
  return { ...json, challenge: toBytes(json.challenge), allowCredentials: bytesOfIds(json.allowCredentials) };
}

// asJSON stands in for credential.toJSON() on telephones and tablets a few years old.
function asJSON(credential) {
  if (credential.toJSON) {
    return credential.toJSON();
  }
  const response = {};
  for (const name of RESPONSE_PARTS) {
    if (credential.response[name]) {
      response[name] = toText(credential.response[name]);
    }
  }
  return {
    id: credential.id,
    rawId: toText(credential.rawId),
    type: credential.type,
    clientExtensionResults: credential.getClientExtensionResults(),
    response,
  };
}

async function send(address, body) {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(body),
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new Error(said.message || "Something went wrong. Please try again in a minute.");
  }
  return said;
}

async function run(way, body) {
  const { begin, finish } = WAYS[way];
  const begun = await send(begin, body);
  const json = begun.publicKey ?? begun;
  const credential =
    way === "register"
      ? await navigator.credentials.create({ publicKey: creationOptions(json) })
      : await navigator.credentials.get({ publicKey: requestOptions(json) });
  return send(finish, asJSON(credential));
}

// inPlainWords says what to do next instead of the browser's own error names.
function inPlainWords(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "That was stopped or took too long. Nothing has changed. You can try again.";
    case "InvalidStateError":
      return "This device already has a passkey for you. You can use it to sign in.";
    default:
      return error.message;
  }
}

export function startPasskeys() {
  if (!window.PublicKeyCredential) {
    return;
  }
  for (const button of document.querySelectorAll("[data-passkey]")) {
    const status = document.getElementById(button.getAttribute("aria-describedby"));
    const name = document.getElementById(button.dataset.passkeyName);
    button.hidden = false;
    button.addEventListener("click", async () => {
      button.disabled = true;
      status.textContent = "Waiting for your device…";
      try {
        const done = await run(button.dataset.passkey, name ? { name: name.value } : {});
        window.location.assign(done.next || "/");
      } catch (error) {
        status.textContent = inPlainWords(error);
        button.disabled = false;
      }
    });
  }
}
