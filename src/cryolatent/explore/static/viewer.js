// Surfaces: one or two side by side under one camera, and thumbnails.

import {
  BufferAttribute, BufferGeometry, Color, DirectionalLight, HemisphereLight, Mesh,
  MeshStandardMaterial, OrbitControls, PerspectiveCamera, Scene, WebGLRenderer,
} from "./vendor/three.min.js";

const ANGLE = 30;
const FIT = 1.08;
const ARRAYS = ["vertices", "normals", "faces"];
const [RED, BLUE, GLASS] = ["#d62a3a", "#2f6fd6", 0.28];
const LAMP = [-0.6, 0.8, 1];

function piece(drawn, prefix) {
  return Object.fromEntries(ARRAYS.map((name) => [name, drawn[prefix + name]]));
}

function meshOf(drawn, colour, opacity = 1) {
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(drawn.vertices, 3));
  geometry.setAttribute("normal", new BufferAttribute(drawn.normals, 3));
  geometry.setIndex(new BufferAttribute(drawn.faces, 1));
  const material = new MeshStandardMaterial({ color: new Color(colour), roughness: 0.65 });
  if (opacity < 1) Object.assign(material, { transparent: true, opacity, depthWrite: false });
  return new Mesh(geometry, material);
}

// How far the surface reaches from the centre of the box.
export function reach(drawn) {
  let most = 0;
  for (let k = 0; k < drawn.vertices.length; k += 3) {
    most = Math.max(most, Math.hypot(...drawn.vertices.subarray(k, k + 3)));
  }
  return most || drawn.meta.side_angstrom / 2;
}

function eye(radius) {
  const camera = new PerspectiveCamera(ANGLE, 1, radius / 50, radius * 40);
  camera.position.set(0, 0, (FIT * radius) / Math.sin((ANGLE / 2) * (Math.PI / 180)));
  return camera;
}

function lit() {
  const scene = new Scene();
  scene.add(new HemisphereLight(0xffffff, 0x8899aa, 1.4));
  const lamp = new DirectionalLight(0xffffff, 2.2);
  lamp.position.set(...LAMP);
  scene.add(lamp);
  return { scene, lamp };
}

export class Viewer {
  constructor(canvas) {
    this.canvas = canvas;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.renderer.setScissorTest(true);
    this.meshes = [null, null];
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  // The first volume says how large things are; the camera stays where it was turned to.
  begin(radius) {
    this.camera = eye(radius);
    this.scenes = [lit(), lit()];
    this.controls = new OrbitControls(this.camera, this.canvas);
    this.controls.addEventListener("change", () => this.draw());
  }

  set(slot, drawn, colour) {
    this.put(slot, drawn, [meshOf(drawn, colour)]);
  }

  // Where a volume has more (red) and less (blue) than another, which is drawn like glass.
  setDifference(slot, drawn, colour) {
    const parts = [["more_", RED], ["less_", BLUE]].map(([prefix, own]) => meshOf(piece(drawn, prefix), own));
    this.put(slot, drawn, [...parts, meshOf(drawn, colour, GLASS)]);
  }

  put(slot, drawn, meshes) {
    if (!this.camera) this.begin(reach(drawn));
    this.unset(slot);
    this.meshes[slot] = meshes;
    this.scenes[slot].scene.add(...meshes);
    this.draw();
  }

  unset(slot) {
    const meshes = this.meshes[slot];
    if (!meshes) return;
    this.scenes[slot].scene.remove(...meshes);
    for (const mesh of meshes) {
      mesh.geometry.dispose();
      mesh.material.dispose();
    }
    this.meshes[slot] = null;
    this.draw();
  }

  forget() {
    [0, 1].forEach((slot) => this.unset(slot));
    this.controls?.dispose();
    this.camera = null;
  }

  draw() {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!width || !height) return;
    this.renderer.setPixelRatio(devicePixelRatio);
    this.renderer.setSize(width, height, false);
    this.renderer.setScissor(0, 0, width, height);
    this.renderer.clear();
    if (!this.camera) return;
    const shown = [0, 1].filter((slot) => this.meshes[slot]);
    shown.forEach((slot, place) => {
      const part = width / shown.length;
      this.camera.aspect = part / height;
      // a narrow view must still hold the whole box
      this.camera.zoom = Math.min(1, this.camera.aspect);
      this.camera.updateProjectionMatrix();
      const { scene, lamp } = this.scenes[slot];
      lamp.position.set(...LAMP).applyQuaternion(this.camera.quaternion);
      this.renderer.setViewport(place * part, 0, part, height);
      this.renderer.setScissor(place * part, 0, part, height);
      this.renderer.render(scene, this.camera);
    });
  }

  key(event) {
    const turns = {
      ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15],
    };
    if (!this.camera || !(event.key in turns)) return;
    const [round, over] = turns[event.key];
    const { x, y, z } = this.camera.position;
    const radius = Math.hypot(x, y, z);
    const azimuth = Math.atan2(x, z) + round;
    const polar = Math.min(Math.max(Math.acos(y / radius) + over, 0.01), Math.PI - 0.01);
    const level = radius * Math.sin(polar);
    this.camera.position.set(
      level * Math.sin(azimuth), radius * Math.cos(polar), level * Math.cos(azimuth),
    );
    this.controls.update();
    this.draw();
    event.preventDefault();
  }
}

// Draws surfaces into other canvases, all with one renderer that is thrown away.
export class Thumbnails {
  constructor(width, height) {
    this.renderer = new WebGLRenderer({ antialias: true, alpha: true });
    this.renderer.setSize(width, height, false);
    this.shape = [width, height];
  }

  // All of one run at one scale: `radius` is the farthest that any of them reaches.
  draw(target, drawn, colour, radius) {
    const camera = eye(radius);
    camera.aspect = this.shape[0] / this.shape[1];
    camera.updateProjectionMatrix();
    const { scene } = lit();
    const mesh = meshOf(drawn, colour);
    scene.add(mesh);
    this.renderer.render(scene, camera);
    [target.width, target.height] = this.shape;
    target.getContext("2d").drawImage(this.renderer.domElement, 0, 0);
    mesh.geometry.dispose();
    mesh.material.dispose();
  }

  close() {
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }
}
